/* common/base/lp_trim.h: gives memory that is not needed for now back to the system. */
#ifndef LP_COMMON_BASE_LP_TRIM_H
#define LP_COMMON_BASE_LP_TRIM_H

/* After something large, when nothing hurries: returns the heap's free pages (malloc_trim(3)), and
 * unmaps the pages of the program itself that starting and the large thing needed. They stay in the
 * page cache, from where those that are needed again come at the cost of a minor fault for each
 * 64 KiB. Any thread. */
void lp_trim(void);

#endif
