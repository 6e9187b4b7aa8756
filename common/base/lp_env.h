/* lp_env.h: options in the environment, by one rule for all programs. */
#ifndef LP_COMMON_BASE_LP_ENV_H
#define LP_COMMON_BASE_LP_ENV_H

/* What the environment says for the option --name: the value of LIVEPUSH_NAME, in capitals and with
 * _ for -, so LIVEPUSH_SECRET_FILE for "secret-file". NULL when it is not set or empty. Borrowed
 * from the environment. */
char *lp_env_option(const char *name);

/* The name of that variable. Owned by the caller. */
char *lp_env_name(const char *name);

#endif
