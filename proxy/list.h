/* proxy/list.h: an intrusive, circular, doubly linked list. Its members are embedded in their owner
 * and recovered with LP_CONTAINER_OF; it allocates nothing. */
#ifndef LP_PROXY_LIST_H
#define LP_PROXY_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A member, or the head of a list. A zeroed link is in no list. */
struct lp_px_link {
	struct lp_px_link *prev;
	struct lp_px_link *next;
};

/* Makes an empty list. */
static inline void lp_px_list_init(struct lp_px_link *head)
{
	head->prev = head;
	head->next = head;
}

static inline bool lp_px_list_empty(const struct lp_px_link *head)
{
	return head->next == head;
}

/* Whether the member is in a list. */
static inline bool lp_px_link_on(const struct lp_px_link *link)
{
	return link->next != NULL;
}

/* Puts a member that is in no list at the end. */
static inline void lp_px_list_push(struct lp_px_link *head, struct lp_px_link *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

/* Takes the member out of its list; harmless when it is in none. */
static inline void lp_px_link_drop(struct lp_px_link *link)
{
	if (!link->next)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link->prev = NULL;
	link->next = NULL;
}

/* Takes the first member out and returns it; NULL when the list is empty. */
static inline struct lp_px_link *lp_px_list_pop(struct lp_px_link *head)
{
	struct lp_px_link *first = head->next;

	if (first == head)
		return NULL;
	head->next = first->next;
	head->next->prev = head;
	first->prev = NULL;
	first->next = NULL;
	return first;
}

/* Takes the last member out and returns it; NULL when the list is empty. */
static inline struct lp_px_link *lp_px_list_pop_last(struct lp_px_link *head)
{
	struct lp_px_link *last = head->prev;

	if (last == head)
		return NULL;
	head->prev = last->prev;
	head->prev->next = head;
	last->prev = NULL;
	last->next = NULL;
	return last;
}

/* Moves all members of `from` to the end of `to`, in their order. */
static inline void lp_px_list_take_all(struct lp_px_link *to, struct lp_px_link *from)
{
	if (lp_px_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	lp_px_list_init(from);
}

#endif
