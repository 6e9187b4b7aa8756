/* controller/privilege.c: capabilities and no_new_privs. */
#include "controller/privilege.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const unsigned kept[] = {
	CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_KILL,
	CAP_SETGID, CAP_SETUID,       CAP_NET_BIND_SERVICE,
};

static uint64_t kept_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < LP_COUNT_OF(kept); i++)
		mask |= UINT64_C(1) << kept[i];
	return mask;
}

int lp_privilege_drop(struct lp_err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[2] = {{0}};
	uint64_t mask = kept_mask();
	bool drops = false;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0)
		return lp_err_set(err, errno, "cannot set no_new_privs");
	/* Which there are depends on the kernel: it says when there are no more. Without
	 * CAP_SETPCAP it does not do it, but then there is nothing that a child could get from
	 * there. */
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, (unsigned long)cap, 0UL, 0UL, 0UL) >= 0;
	     cap++)
		if (cap >= 64 || !(mask >> cap & 1))
			(void)prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0UL, 0UL, 0UL);
	(void)prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL);
	if (syscall(SYS_capget, &head, set) < 0)
		return lp_err_set(err, errno, "cannot read the capabilities");
	for (unsigned i = 0; i < 2; i++) {
		uint32_t kept_here = (uint32_t)(mask >> (32 * i));

		drops |= (set[i].permitted & ~kept_here) != 0 || set[i].inheritable != 0;
		set[i].permitted &= kept_here;
		set[i].effective &= kept_here; /* nothing is taken up that was not in use */
		set[i].inheritable = 0;
	}
	/* A sandbox may forbid the call where there is nothing left to drop. */
	if (drops && syscall(SYS_capset, &head, set) < 0)
		return lp_err_set(err, errno, "cannot drop capabilities");
	return 0;
}
