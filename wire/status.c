/* wire/status.c: see status.h. */
#include "wire/status.h"

#include <string.h>

void lp_status_numbers(const struct lp_msg_status *s,
		       struct lp_status_number out[LP_STATUS_NUMBERS])
{
	const struct lp_status_number numbers[LP_STATUS_NUMBERS] = {
		{"revision", s->revision}, {"generation", s->generation},
		{"settled", s->settled},   {"pid", s->pid},
		{"crashes", s->crashes},   {"files", s->files},
		{"bytes", s->bytes},       {"uptime_ms", s->uptime_us / 1000},
	};

	memcpy(out, numbers, sizeof(numbers));
}
