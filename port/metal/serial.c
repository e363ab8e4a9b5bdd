/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two lines to the outside: the first serial port is VM 0's console, the second the record
 * channel (postern/report.h). QEMU's debug console, where there is one, takes the records instead
 * of the second port's transmitter, since it takes a whole record by one instruction.
 *
 * With "input=com3" on the command line, what is typed for VM 0 comes by the third port, and the first only
 * sends: for an emulator whose serial lines are either lossless or go both ways. A port that only receives
 * has no FIFO then: the emulator knows that a single byte has not been fetched, but fills a FIFO over its
 * end.
 *
 * All output is polled. 16550 data sheet: when the transmitter's holding register is empty, 16
 * bytes fit into the FIFO.
 */
#include "metal.h"
#include "postern/report.h"

#define COM1           0x3f8
#define COM2           0x2f8
#define COM3           0x3e8
#define UART_DATA      0
#define UART_IER       1
#define UART_FCR       2
#define UART_LCR       3
#define UART_MCR       4
#define UART_LSR       5
#define UART_SCRATCH   7
#define UART_LCR_8N1   0x03
#define UART_LCR_DLAB  0x80
#define UART_FCR_RESET 0x07 /* enable, clear both */
#define UART_MCR_ON    0x03 /* DTR, RTS */
#define UART_LSR_DATA  BIT(0)
#define UART_LSR_EMPTY BIT(5)
#define UART_LSR_SENT  BIT(6) /* and what was in the FIFO has left */
#define UART_FIFO      16

#define DEBUGCON 0xe9

#define LOG_MAX     256
#define CONSOLE_MAX 256 /* bytes of a VM's console in one record */

struct uart {
	u16 port; /* (i), as the next */
	bool exists;
	struct spinlock lock; /* the transmitter; innermost */
};

static struct uart serial_console = {.port = COM1};
static struct uart serial_channel = {.port = COM2};
static struct uart serial_typed = {.port = COM3};
static struct uart *serial_input = &serial_console; /* constant after boot */
static bool serial_debugcon;                        /* constant after boot */
static bool serial_log_to_console = true;           /* likewise; until the command line is known */

static void uart_init(struct uart *uart)
{
	out8(uart->port + UART_SCRATCH, 0x5a);
	if (in8(uart->port + UART_SCRATCH) != 0x5a)
		return;
	out8(uart->port + UART_SCRATCH, 0xa5);
	if (in8(uart->port + UART_SCRATCH) != 0xa5)
		return;
	out8(uart->port + UART_IER, 0);
	out8(uart->port + UART_LCR, UART_LCR_DLAB);
	out8(uart->port + 0, 1); /* 115200 baud */
	out8(uart->port + 1, 0);
	out8(uart->port + UART_LCR, UART_LCR_8N1);
	out8(uart->port + UART_FCR, UART_FCR_RESET);
	out8(uart->port + UART_MCR, UART_MCR_ON);
	uart->exists = true;
}

static void uart_write(const struct uart *uart, const u8 *data, u32 len)
{
	if (!uart->exists)
		return;
	while (len) {
		u32 n = len < UART_FIFO ? len : UART_FIFO;

		wait_until(in8(uart->port + UART_LSR) & UART_LSR_EMPTY);
		len -= n;
		while (n--)
			out8(uart->port + UART_DATA, *data++);
	}
}

static int uart_read(const struct uart *uart)
{
	if (!uart->exists || !(in8(uart->port + UART_LSR) & UART_LSR_DATA))
		return -1;
	return in8(uart->port + UART_DATA);
}

static void channel_write(const void *data, u32 len)
{
	if (serial_debugcon)
		out8_string(DEBUGCON, data, len);
	else
		uart_write(&serial_channel, data, len);
}

bool serial_has_reports(void)
{
	return serial_debugcon || serial_channel.exists;
}

/* Before the command line is known. */
void serial_init(void)
{
	uart_init(&serial_console);
	uart_init(&serial_channel);
	serial_debugcon = in8(DEBUGCON) == DEBUGCON;
}

static void uart_drain(const struct uart *uart)
{
	if (uart->exists)
		wait_until(in8(uart->port + UART_LSR) & UART_LSR_SENT);
}

void serial_drain(void)
{
	uart_drain(&serial_console);
	uart_drain(&serial_channel);
}

bool serial_has_debugcon(void)
{
	return serial_debugcon;
}

void serial_take_input_apart(void)
{
	uart_init(&serial_typed);
	if (!serial_typed.exists)
		return;
	out8(COM3 + UART_FCR, 0);
	if (serial_debugcon)
		out8(COM2 + UART_FCR, 0);
	serial_input = &serial_typed;
}

void serial_set_log(bool to_console)
{
	serial_log_to_console = to_console || !serial_has_reports();
}

void serial_use_screen(void)
{
	if (screen_start())
		serial_log_to_console = true;
	else
		port_log("screen: none in text mode; a serial port is needed");
}

/* In a record, for the host command to put behind the VM's name. */
static void console_record(u32 vm, const u8 *data, u32 len)
{
	struct {
		struct report_header header;
		u8 data[CONSOLE_MAX];
	} __packed record;

	while (len) {
		u32 n = (u32)min_u64(len, CONSOLE_MAX);

		record.header =
		        (struct report_header){REPORT_MAGIC, REPORT_CONSOLE, (u8)vm, (u16)n};
		memcpy(record.data, data, n);
		port_report_write(&record, (u32)sizeof(record.header) + n);
		data += n;
		len -= n;
	}
}

/* The first serial port is VM 0's alone. */
void port_console_write(u32 vm, const u8 *data, u32 len)
{
	if (vm) {
		console_record(vm, data, len);
		return;
	}
	spin_lock(&serial_console.lock);
	uart_write(&serial_console, data, len);
	screen_write(data, len);
	spin_unlock(&serial_console.lock);
}

int port_console_read(u32 vm)
{
	return vm ? -1 : uart_read(serial_input);
}

void port_report_write(const void *data, u32 len)
{
	spin_lock(&serial_channel.lock);
	channel_write(data, len);
	spin_unlock(&serial_channel.lock);
}

int port_report_read(void)
{
	return uart_read(&serial_channel);
}

void port_log(const char *fmt, ...)
{
	struct {
		struct report_header header;
		char text[LOG_MAX];
	} __packed record;
	char line[LOG_MAX + 16];
	va_list args;
	u32 n;

	va_start(args, fmt);
	vsnprintf(record.text, sizeof(record.text), fmt, args);
	va_end(args);
	n = (u32)strlen(record.text);
	record.header = (struct report_header){REPORT_MAGIC, REPORT_LOG, 0, (u16)n};
	port_report_write(&record, (u32)sizeof(record.header) + n);

	if (!serial_log_to_console)
		return;
	n = (u32)snprintf(line, sizeof(line), "postern: %s\r\n", record.text);
	port_console_write(0, (const u8 *)line, n);
}

void serial_panic_line(const char *text)
{
	uart_write(&serial_console, (const u8 *)text, (u32)strlen(text));
	screen_write((const u8 *)text, (u32)strlen(text));
}

void serial_panic_record(const void *data, u32 len)
{
	channel_write(data, len);
}
