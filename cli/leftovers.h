/* cli/leftovers.h: processes that a killed controller left behind. */
#ifndef LP_CLI_LEFTOVERS_H
#define LP_CLI_LEFTOVERS_H

/* Kills every process of this user whose current directory is `dir` (an absolute real path that
 * nobody else uses) or below it. */
void lp_kill_below(const char *dir);

#endif
