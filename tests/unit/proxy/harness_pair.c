/* harness_pair.c: a proxy and one upstream behind it. */
#include "harness_pair.h"

struct up up;
struct rig rig;

int pair_set_up(void **state)
{
	(void)state;
	up_start(&up, "one", NULL);
	rig_start(&rig, NULL);
	rig_forward(&rig, 1, &up);
	return 0;
}

int pair_tear_down(void **state)
{
	(void)state;
	rig_stop(&rig);
	up_stop(&up);
	return 0;
}
