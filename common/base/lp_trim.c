/* common/base/lp_trim.c: see lp_trim.h. */
#include "common/base/lp_trim.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the program, which is the first object: what nobody can have written to. What is relocated and
 * then protected (relro) is in a writable segment. */
static int drop_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)ctx;
	for (ElfW(Half) i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t at = ((uintptr_t)info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
		uintptr_t end = (uintptr_t)info->dlpi_addr + segment->p_vaddr + segment->p_memsz;

		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
			(void)madvise((void *)at, end - at, MADV_DONTNEED);
	}
	return 1;
}

void lp_trim(void)
{
	(void)malloc_trim(0);
	(void)dl_iterate_phdr(drop_program, NULL);
}
