/* controller/sup_step.h: the supervisor's states and events as a table. Pure: says what is to be
 * done, does nothing. */
#ifndef LP_CONTROLLER_SUP_STEP_H
#define LP_CONTROLLER_SUP_STEP_H

#include "controller/supervise.h"

enum lp_sup_event {
	LP_EV_PREPARE, /* a rule's command begins; a restart comes after it */
	LP_EV_BESIDE,  /* a new generation is due, strategy swap */
	LP_EV_ALONE,   /* a new generation is due, strategy stop-start */
	LP_EV_NOTHING, /* a new generation is due, but there is no command */
	LP_EV_HEALTHY, /* the next generation can serve */
	LP_EV_FAULT,   /* what was under way failed */
	LP_EV_RELAPSE, /* the same while we recover from a crash */
	LP_EV_EXITED,  /* the serving generation ended by itself */
	LP_EV_STOP,    /* everything is to end */
	LP_EV_COUNT_,
};

/* What a step asks for, carried out in this order. */
enum lp_sup_act {
	LP_ACT_HOLD = 1,         /* the door holds requests */
	LP_ACT_DROP = 2,         /* end the generation that is being started, if there is one */
	LP_ACT_LEAVE = 4,        /* end the serving generation soon, others at once */
	LP_ACT_FORWARD = 8,      /* the next generation serves; the one before is retired */
	LP_ACT_REFUSE = 16,      /* the door refuses requests with the reason */
	LP_ACT_DELAY = 32,       /* try again after the backoff */
	LP_ACT_START = 64,       /* start a generation */
	LP_ACT_START_ALONE = 128 /* the same as soon as no other is left */
};

/* known: the cell was thought of. to: the state afterwards. acts: of enum lp_sup_act. */
struct lp_sup_step {
	bool known;
	enum lp_sup_state to;
	unsigned int acts;
};

/* The step for an event in a state; never NULL. */
const struct lp_sup_step *lp_sup_step(enum lp_sup_state state, enum lp_sup_event event);

#endif
