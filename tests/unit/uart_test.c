/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/uart.c and platform/line.c: the 16550A as drivers see it. */
#include "platform_fake.h"

#include <string.h>

#define DATA (UART_PORT + 0)
#define IER  (UART_PORT + 1)
#define IIR  (UART_PORT + 2)
#define FCR  (UART_PORT + 2)
#define LCR  (UART_PORT + 3)
#define MCR  (UART_PORT + 4)
#define LSR  (UART_PORT + 5)
#define MSR  (UART_PORT + 6)
#define SCR  (UART_PORT + 7)
#define IRQ  4
#define OUT2 0x08

static void expect_output(const char *text)
{
	assert_int_equal(fake->out_count, strlen(text));
	assert_memory_equal(fake->out, text, strlen(text));
}

static void type(const char *text)
{
	fake->in = text;
	platform_poll(&fake->vm);
}

static void test_uart_output_in_order(void **state)
{
	const char *text = "one\ntwo";

	(void)state;
	for (const char *c = text; *c; c++)
		fake_out(DATA, 1, (u8)*c);
	expect_output("one\n"); /* a whole line goes at once */
	platform_poll(&fake->vm);
	expect_output("one\ntwo");
	assert_int_equal(fake->out_writes, 2);
}

static void test_uart_output_long_line(void **state)
{
	(void)state;
	for (u32 i = 0; i < UART_TX_SIZE + 5; i++)
		fake_out(DATA, 1, 'a' + i % 26);
	assert_int_equal(fake->out_count, UART_TX_SIZE);
	platform_poll(&fake->vm);
	assert_int_equal(fake->out_count, UART_TX_SIZE + 5);
	for (u32 i = 0; i < fake->out_count; i++)
		assert_int_equal(fake->out[i], 'a' + i % 26);
}

static void test_uart_output_survives_the_end(void **state)
{
	(void)state;
	fake_out(DATA, 1, 'x');
	fake_out(0x604, 2, 0x3400);
	expect_output("x");
	fake_out(DATA, 1, 'y');
	platform_destroy(&fake->vm);
	expect_output("xy");
}

static void test_uart_always_ready(void **state)
{
	(void)state;
	assert_int_equal(fake_in(LSR, 1), 0x60);
	fake_out(DATA, 1, 'x');
	assert_int_equal(fake_in(LSR, 1), 0x60);
}

static void test_uart_divisor_latch(void **state)
{
	(void)state;
	fake_out(LCR, 1, 0x83);
	fake_out(DATA, 1, 0x0c);
	fake_out(IER, 1, 0x01);
	assert_int_equal(fake_in(DATA, 1), 0x0c);
	assert_int_equal(fake_in(IER, 1), 0x01);
	assert_int_equal(fake_in(DATA, 2), 0x010c); /* two byte accesses */
	fake_out(LCR, 1, 0x03);
	assert_int_equal(fake_in(IER, 1), 0);
	platform_poll(&fake->vm);
	expect_output("");
}

/* What Linux' 8250 driver does to find out what is there. */
static void test_uart_is_16550a(void **state)
{
	(void)state;
	fake_out(IER, 1, 0xff);
	assert_int_equal(fake_in(IER, 1), 0x0f);
	fake_out(IER, 1, 0);
	fake_out(MCR, 1, 0x1a); /* loopback with RTS and OUT2 */
	assert_int_equal(fake_in(MSR, 1) & 0xf0, 0x90);
	fake_out(MCR, 1, 0);
	assert_int_equal(fake_in(MSR, 1) & 0xf0, 0xb0);
	fake_out(SCR, 1, 0x5a);
	assert_int_equal(fake_in(SCR, 1), 0x5a);
	assert_int_equal(fake_in(IIR, 1), 0x01);
	fake_out(FCR, 1, 0x01);
	assert_int_equal(fake_in(IIR, 1), 0xc1);
	fake_out(FCR, 1, 0x21); /* no 64-byte FIFO */
	assert_int_equal(fake_in(IIR, 1), 0xc1);
	fake_out(FCR, 1, 0);
	assert_int_equal(fake_in(IIR, 1), 0x01);
}

static void test_uart_thre_is_an_event(void **state)
{
	(void)state;
	fake_out(MCR, 1, OUT2);
	fake_out(IER, 1, 0x02);
	assert_true(fake->line[IRQ]);
	assert_int_equal(fake_in(IIR, 1), 0x02);
	assert_false(fake->line[IRQ]); /* reading the cause takes it back */
	assert_int_equal(fake_in(IIR, 1), 0x01);
	fake_out(DATA, 1, 'x');
	assert_true(fake->line[IRQ]);
	assert_int_equal(fake->rises[IRQ], 2);
	fake_out(DATA, 1, 'y'); /* still the same interrupt */
	assert_int_equal(fake->rises[IRQ], 2);
	assert_int_equal(fake_in(IIR, 1), 0x02);
	/* Off and on again with the transmitter empty: raised again. Writing it on again: not. */
	fake_out(IER, 1, 0x02);
	assert_int_equal(fake_in(IIR, 1), 0x01);
	fake_out(IER, 1, 0x00);
	fake_out(IER, 1, 0x02);
	assert_int_equal(fake_in(IIR, 1), 0x02);
}

static void test_uart_irq_needs_out2(void **state)
{
	(void)state;
	fake_out(IER, 1, 0x02);
	assert_false(fake->line[IRQ]);
	fake_out(MCR, 1, OUT2);
	assert_true(fake->line[IRQ]);
	fake_out(MCR, 1, OUT2 | 0x10); /* loopback disconnects it */
	assert_false(fake->line[IRQ]);
}

static void test_uart_input_interrupts(void **state)
{
	(void)state;
	fake_out(FCR, 1, 0x81); /* trigger level 8 */
	fake_out(MCR, 1, OUT2);
	fake_out(IER, 1, 0x01);
	type("abc");
	assert_true(fake->line[IRQ]);
	assert_int_equal(fake_in(IIR, 1), 0xcc); /* below the level: time-out */
	assert_int_equal(fake_in(LSR, 1), 0x61);
	assert_int_equal(fake_in(DATA, 1), 'a');
	type("defghi");
	assert_int_equal(fake_in(IIR, 1), 0xc4);
	for (const char *c = "bcdefghi"; *c; c++)
		assert_int_equal(fake_in(DATA, 1), *c);
	assert_false(fake->line[IRQ]);
	assert_int_equal(fake_in(LSR, 1), 0x60);
	assert_int_equal(fake_in(DATA, 1), 0);
}

static void test_uart_input_fits_fifo(void **state)
{
	(void)state;
	fake_out(FCR, 1, 0x01);
	type("0123456789abcdefXYZ");
	assert_string_equal(fake->in, "XYZ"); /* the rest waits outside, nothing overruns */
	assert_int_equal(fake_in(LSR, 1), 0x61);
	for (const char *c = "0123456789abcdef"; *c; c++)
		assert_int_equal(fake_in(DATA, 1), *c);
	platform_poll(&fake->vm);
	assert_int_equal(fake_in(DATA, 1), 'X');
	fake_out(FCR, 1, 0x03); /* clear */
	assert_int_equal(fake_in(LSR, 1), 0x60);
}

static void test_uart_input_without_fifo(void **state)
{
	(void)state;
	type("ab");
	assert_string_equal(fake->in, "b");
	assert_int_equal(fake_in(DATA, 1), 'a');
}

static void test_uart_loopback_and_priorities(void **state)
{
	(void)state;
	fake_out(FCR, 1, 0x01);
	fake_out(MCR, 1, 0x10);
	fake_in(MSR, 1);
	type("q"); /* input stays outside */
	for (u32 i = 0; i < UART_FIFO_SIZE + 1; i++)
		fake_out(DATA, 1, i);
	fake_out(MCR, 1, 0x12); /* a delta on CTS */
	fake_out(IER, 1, 0x0f);
	assert_int_equal(fake_in(IIR, 1), 0xc6);
	assert_int_equal(fake_in(LSR, 1), 0x63); /* overrun, reported once */
	assert_int_equal(fake_in(LSR, 1), 0x61);
	assert_int_equal(fake_in(IIR, 1), 0xc4);
	for (u32 i = 0; i < UART_FIFO_SIZE; i++)
		assert_int_equal(fake_in(DATA, 1), i);
	assert_int_equal(fake_in(IIR, 1), 0xc2);
	assert_int_equal(fake_in(IIR, 1), 0xc0);
	assert_int_equal(fake_in(MSR, 1), 0x11);
	assert_int_equal(fake_in(IIR, 1), 0xc1);
	platform_poll(&fake->vm);
	expect_output("");
}

static void test_uart_ring_reports_trailing_edge(void **state)
{
	(void)state;
	fake_out(MCR, 1, 0x10);
	fake_in(MSR, 1);
	fake_out(MCR, 1, 0x14);
	assert_int_equal(fake_in(MSR, 1), 0x40);
	fake_out(MCR, 1, 0x10);
	assert_int_equal(fake_in(MSR, 1), 0x04);
}

/* Another processor acknowledges and raises again while this one still applies the first rise. */
static void ack_and_raise(struct fake *f)
{
	(void)f;
	assert_int_equal(fake_in(IIR, 1), 0x02);
	fake_out(DATA, 1, 'x');
}

static void test_line_keeps_edge_of_concurrent_pulse(void **state)
{
	(void)state;
	fake_out(MCR, 1, OUT2);
	fake->in_set_line = ack_and_raise;
	fake_out(IER, 1, 0x02);
	assert_true(fake->line[IRQ]);
	assert_int_equal(fake->rises[IRQ], 2);
}

static void lower(struct fake *f)
{
	(void)f;
	fake_out(IER, 1, 0);
}

static void test_line_last_level_wins(void **state)
{
	(void)state;
	fake_out(MCR, 1, OUT2);
	fake->in_set_line = lower;
	fake_out(IER, 1, 0x02);
	assert_false(fake->line[IRQ]);
}

static void pulse_for_ever(struct fake *f)
{
	f->in_set_line = pulse_for_ever;
	fake_out(IER, 1, 0);
	fake_out(IER, 1, 0x02);
}

static void test_line_bounds_its_work(void **state)
{
	(void)state;
	fake_out(MCR, 1, OUT2);
	fake->in_set_line = pulse_for_ever;
	fake_out(IER, 1, 0x02); /* comes back */
	fake->in_set_line = NULL;
	platform_poll(&fake->vm); /* and what is left over is applied by the poll */
	assert_true(fake->line[IRQ]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_uart_output_in_order),
	        TEST(test_uart_output_long_line),
	        TEST(test_uart_output_survives_the_end),
	        TEST(test_uart_always_ready),
	        TEST(test_uart_divisor_latch),
	        TEST(test_uart_is_16550a),
	        TEST(test_uart_thre_is_an_event),
	        TEST(test_uart_irq_needs_out2),
	        TEST(test_uart_input_interrupts),
	        TEST(test_uart_input_fits_fifo),
	        TEST(test_uart_input_without_fifo),
	        TEST(test_uart_loopback_and_priorities),
	        TEST(test_uart_ring_reports_trailing_edge),
	        TEST(test_line_keeps_edge_of_concurrent_pulse),
	        TEST(test_line_last_level_wins),
	        TEST(test_line_bounds_its_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
