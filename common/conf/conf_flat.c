/* common/conf/conf_flat.c: plain mappings in YAML. */
#include "common/conf/conf_flat.h"

#include "common/base/lp_mem.h"

#include <yaml.h>

struct flat {
	yaml_document_t doc;
	const char *name;
	int (*take)(void *ctx, const char *key, const char *value, struct lp_err *err);
	void *ctx;
};

/* Owned; NULL for what is neither a scalar nor a list of them. */
static char *text_of(struct flat *f, const yaml_node_t *node)
{
	char *out;

	if (!node || (node->type != YAML_SCALAR_NODE && node->type != YAML_SEQUENCE_NODE))
		return NULL;
	if (node->type == YAML_SCALAR_NODE)
		return lp_xstrdup((const char *)node->data.scalar.value);
	out = lp_xstrdup("");
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		const yaml_node_t *one = yaml_document_get_node(&f->doc, *item);
		char *before = out;

		if (!one || one->type != YAML_SCALAR_NODE) {
			free(out);
			return NULL;
		}
		out = lp_xasprintf("%s%s%s", before, before[0] ? " " : "",
				   (const char *)one->data.scalar.value);
		free(before);
	}
	return out;
}

static int take_all(struct flat *f, struct lp_err *err)
{
	const yaml_node_t *root = yaml_document_get_root_node(&f->doc);
	int r = 0;

	if (!root)
		return 0;
	if (root->type != YAML_MAPPING_NODE)
		return lp_err_say(err, EINVAL, "%s: not a mapping of keys to values", f->name);
	for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
	     r == 0 && pair < root->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&f->doc, pair->key);
		LP_AUTO_FREE char *value = text_of(f, yaml_document_get_node(&f->doc, pair->value));

		if (!key || key->type != YAML_SCALAR_NODE)
			return lp_err_say(err, EINVAL, "%s: a key is no text", f->name);
		r = f->take(f->ctx, (const char *)key->data.scalar.value, value, err);
	}
	return r;
}

int lp_conf_flat_parse(const char *text, size_t len, const char *name,
		       int (*take)(void *ctx, const char *key, const char *value,
				   struct lp_err *err),
		       void *ctx, struct lp_err *err)
{
	struct flat f = {.name = name, .take = take, .ctx = ctx};
	yaml_parser_t parser;
	int r;

	if (!yaml_parser_initialize(&parser))
		return lp_err_set(err, ENOMEM, "%s", name);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &f.doc)) {
		r = lp_err_say(err, EINVAL, "%s:%zu: %s", name, parser.problem_mark.line + 1,
			       parser.problem ? parser.problem : "not YAML");
	} else {
		r = take_all(&f, err);
		yaml_document_delete(&f.doc);
	}
	yaml_parser_delete(&parser);
	return r;
}
