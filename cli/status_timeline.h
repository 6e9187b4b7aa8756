/* cli/status_timeline.h: livepush status --timeline: how long each step of the last saves took. */
#ifndef LP_CLI_STATUS_TIMELINE_H
#define LP_CLI_STATUS_TIMELINE_H

#include <stdbool.h>

/* Asks the session of that app on this machine and prints what it says. Returns an exit status. */
int lp_status_timeline(const char *app, bool json);

#endif
