/* cli/cmd_open.c: livepush open: links to the page of each instance of an app. */
#include "cli/command.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "wire/ticket.h"

#include <stdio.h>
#include <string.h>

#define FOR_MS 600000u

/* "http://host:port/" of the instance, and the ticket behind the page's path. Owned. */
static char *link_to(const char *url, const char *secret, uint32_t for_ms)
{
	LP_AUTO_FREE char *base = lp_target_http_url(url);
	char ticket[LP_TICKET_MAX_BYTES];

	lp_ticket_make(ticket, secret, LP_TICKET_LINK, LP_TICKET_ADMIN,
		       lp_wall_us() / 1000000 + (for_ms + 999) / 1000);
	return lp_xasprintf("%s_livepush/?t=%s", base, ticket);
}

int lp_cmd_open(const struct lp_args *args)
{
	uint32_t for_ms = FOR_MS;
	struct lp_target target;
	struct lp_err err = {0};
	json_t *session, *links = json_array();

	if (lp_arg(args, "for") &&
	    (lp_parse_seconds(lp_arg(args, "for"), &for_ms) < 0 || for_ms == 0)) {
		json_decref(links);
		return lp_out_misuse(args, "for", LP_SECONDS_NOT_0);
	}
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0) {
		json_decref(links);
		return lp_out_err(args->json, &err);
	}
	json_decref(session);
	for (size_t i = 0; i < target.n_urls; i++) {
		LP_AUTO_FREE char *url = link_to(target.urls[i], target.secret, for_ms);

		(void)json_array_append_new(links, json_string(url));
		if (!args->json)
			(void)printf("%s\n", url);
	}
	lp_target_finish(&target);
	if (args->json)
		return lp_out_json(json_pack("{s:o}", "links", links)) ? LP_EXIT_OK
								       : LP_EXIT_FAILED;
	json_decref(links);
	return LP_EXIT_OK;
}
