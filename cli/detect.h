/* cli/detect.h: which kind of project a directory holds, by the files in it. */
#ifndef LP_CLI_DETECT_H
#define LP_CLI_DETECT_H

#include "common/base/lp_buf.h"

/* What was recognised. name: "Python"; why: the file that told, for people. command: a YAML value
 * (quoted where needed). rules, ignore: YAML blocks, "" for none. */
struct lp_detected {
	const char *name;
	const char *why;
	char *command; /* owned */
	const char *rules;
	const char *ignore;
};

/* Looks at the directory open as dir_fd. Returns 0, or -ENOENT when nothing is recognised: then
 * *out holds a command to be replaced. lp_detected_finish in both cases. */
int lp_detect(struct lp_detected *out, int dir_fd) LP_MUST_USE;
void lp_detected_finish(struct lp_detected *d);

/* A text as a YAML double-quoted scalar. Owned by the caller. */
char *lp_yaml_quote(const char *text);

#endif
