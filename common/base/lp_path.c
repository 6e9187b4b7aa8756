/* lp_path.c: checks and pieces of relative paths. */
#include "common/base/lp_path.h"

#include <string.h>

bool lp_path_is_clean(const char *path, size_t len)
{
	size_t start = 0;

	if (len == 0 || len > LP_PATH_MAX_BYTES || memchr(path, '\0', len))
		return false;
	for (size_t i = 0; i <= len; i++) {
		size_t n = i - start;

		if (i < len && path[i] != '/')
			continue;
		if (n == 0 || n > LP_NAME_MAX_BYTES)
			return false;
		if (path[start] == '.' && (n == 1 || (n == 2 && path[start + 1] == '.')))
			return false;
		start = i + 1;
	}
	return true;
}

bool lp_path_link_is_inside(const char *path, const char *target, size_t len)
{
	size_t parents = 0, ups = 0, start = 0;
	bool only_ups = true;

	if (len == 0 || len > LP_PATH_MAX_BYTES || target[0] == '/' || memchr(target, '\0', len))
		return false;
	for (const char *p = path; *p; p++)
		parents += *p == '/';
	for (size_t i = 0; i <= len; i++) {
		size_t n = i - start;

		if (i < len && target[i] != '/')
			continue;
		if (n == 2 && target[start] == '.' && target[start + 1] == '.') {
			if (!only_ups || ++ups > parents)
				return false;
		} else if (n > 0 && !(n == 1 && target[start] == '.')) {
			only_ups = false;
		}
		start = i + 1;
	}
	return true;
}

int lp_path_join(char *out, size_t out_bytes, const char *dir, const char *name)
{
	size_t dir_len = strlen(dir), len = strlen(name), at = dir_len > 0 ? dir_len + 1 : 0;

	if (at + len >= out_bytes)
		return -ENAMETOOLONG;
	if (at > 0) {
		memcpy(out, dir, at);
		out[dir_len] = '/';
	}
	memcpy(out + at, name, len + 1);
	return 0;
}

size_t lp_path_dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

const char *lp_path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool lp_path_is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return n == 0 || (strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0'));
}
