/* test_hex.c: bytes as hexadecimal digits. */
#include "common/base/lp_hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void hex__writes_every_byte(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const uint8_t byte = (uint8_t)i;
		char out[LP_HEX_BYTES(1)], wanted[LP_HEX_BYTES(1)];

		(void)snprintf(wanted, sizeof(wanted), "%02x", i);
		lp_hex(out, &byte, 1);
		assert_string_equal(out, wanted);
	}
}

static void hex__keeps_within_its_room(void **state)
{
	const uint8_t bytes[] = {0x00, 0xff, 0x1a};
	char out[] = "xxxxxxx!";

	(void)state;
	lp_hex(out, bytes, sizeof(bytes));
	assert_string_equal(out, "00ff1a");
	assert_int_equal(out[7], '!');
	lp_hex(out, bytes, 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex__writes_every_byte),
		cmocka_unit_test(hex__keeps_within_its_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
