/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 16550A. The transmitter is infinitely fast: THR is empty again as soon as it has been written,
 * and the line status never says otherwise. Rules that drivers depend on:
 *
 *  - "Transmitter holding register empty" is an event, not a state: it is raised when THR becomes
 *    empty and when its enable bit goes from 0 to 1 with THR empty; reading IIR while it is the
 *    reported cause, or writing THR, takes it back.
 *  - Causes have a fixed order: line status, received data or time-out, THR empty, modem status.
 *  - The interrupt output reaches the bus through OUT2 (MCR bit 3), and in loopback not at all.
 *  - Received data below the trigger level is reported as a character time-out at once: console
 *    input comes in by polling, at intervals longer than four characters take.
 */
#include "platform/uart.h"

#include "core/vm.h"
#include "platform/bytes.h"
#include "platform/layout.h"
#include "postern/port.h"

/* Registers by offset; the first two are the divisor's while LCR.DLAB is set. */
#define UART_DATA 0
#define UART_IER  1
#define UART_IIR  2 /* read; FCR when written */
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5
#define UART_MSR  6
#define UART_SCR  7

#define IER_RX     BIT(0)
#define IER_THRE   BIT(1)
#define IER_STATUS BIT(2)
#define IER_MODEM  BIT(3)
#define IER_ALL    0x0f

#define IIR_NONE    0x01
#define IIR_STATUS  0x06
#define IIR_RX      0x04
#define IIR_TIMEOUT 0x0c
#define IIR_THRE    0x02
#define IIR_MODEM   0x00
#define IIR_FIFO    0xc0

#define FCR_ENABLE   BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define FCR_TRIGGER  0xc0

#define LCR_DLAB BIT(7)

#define MCR_DTR  BIT(0)
#define MCR_RTS  BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3)
#define MCR_LOOP BIT(4)
#define MCR_ALL  0x1f

#define LSR_DATA    BIT(0)
#define LSR_OVERRUN BIT(1)
#define LSR_THRE    BIT(5)
#define LSR_IDLE    BIT(6)

#define MSR_CTS BIT(4)
#define MSR_DSR BIT(5)
#define MSR_RI  BIT(6)
#define MSR_DCD BIT(7)

static u32 uart_capacity(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? UART_FIFO_SIZE : 1;
}

static u32 uart_trigger(const struct uart *uart)
{
	static const u8 level[] = {1, 4, 8, 14};

	return uart->fcr & FCR_ENABLE ? level[uart->fcr >> 6] : 1;
}

/* The highest enabled cause, as IIR 3:0. Pure. */
static u8 uart_cause(const struct uart *uart)
{
	if ((uart->ier & IER_STATUS) && uart->lsr_errors)
		return IIR_STATUS;
	if ((uart->ier & IER_RX) && uart->rx_count)
		return uart->rx_count >= uart_trigger(uart) ? IIR_RX : IIR_TIMEOUT;
	if ((uart->ier & IER_THRE) && uart->thre_pending)
		return IIR_THRE;
	if ((uart->ier & IER_MODEM) && uart->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void uart_update(struct uart *uart)
{
	bool connected = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	line_want(&uart->line, connected && uart_cause(uart) != IIR_NONE);
}

/* Modem inputs: a terminal that is always there, or in loopback our own outputs. */
static u8 uart_modem_lines(const struct uart *uart)
{
	u8 lines = 0;

	if (!(uart->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (uart->mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (uart->mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (uart->mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (uart->mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void uart_write_mcr(struct uart *uart, u8 value)
{
	u8 before = uart_modem_lines(uart);
	u8 changed;

	uart->mcr = value & MCR_ALL;
	changed = before ^ uart_modem_lines(uart);
	/* The ring indicator reports its trailing edge only. */
	if (!(before & MSR_RI))
		changed &= (u8)~MSR_RI;
	uart->msr_delta |= changed >> 4;
}

static void uart_receive(struct uart *uart, u8 byte)
{
	if (uart->rx_count >= uart_capacity(uart)) {
		uart->lsr_errors |= LSR_OVERRUN;
		return;
	}
	uart->rx[(uart->rx_head + uart->rx_count) % UART_FIFO_SIZE] = byte;
	uart->rx_count++;
}

static u8 uart_take_rx(struct uart *uart)
{
	u8 byte;

	if (!uart->rx_count)
		return 0;
	byte = uart->rx[uart->rx_head];
	uart->rx_head = (uart->rx_head + 1) % UART_FIFO_SIZE;
	uart->rx_count--;
	return byte;
}

static void uart_flush_locked(struct uart *uart)
{
	if (uart->tx_count)
		port_console_write(uart->vm->id, uart->tx, uart->tx_count);
	uart->tx_count = 0;
}

static void uart_transmit(struct uart *uart, u8 byte)
{
	if (uart->mcr & MCR_LOOP) {
		uart_receive(uart, byte);
	} else {
		uart->tx[uart->tx_count++] = byte;
		if (byte == '\n' || uart->tx_count == UART_TX_SIZE)
			uart_flush_locked(uart);
	}
	uart->thre_pending = true;
}

static void uart_write_fcr(struct uart *uart, u8 value)
{
	/* The other bits are programmable only while the FIFOs are on; a change clears both. */
	if ((value ^ uart->fcr) & FCR_ENABLE || value & FCR_CLEAR_RX)
		uart->rx_count = 0;
	uart->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

static u8 uart_read8(void *device, u32 offset)
{
	struct uart *uart = device;
	u8 value;

	switch (offset) {
	case UART_DATA:
		return uart->lcr & LCR_DLAB ? uart->divisor[0] : uart_take_rx(uart);
	case UART_IER:
		return uart->lcr & LCR_DLAB ? uart->divisor[1] : uart->ier;
	case UART_IIR:
		value = uart_cause(uart);
		if (value == IIR_THRE)
			uart->thre_pending = false;
		return uart->fcr & FCR_ENABLE ? value | IIR_FIFO : value;
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		value = uart->lsr_errors | LSR_THRE | LSR_IDLE;
		uart->lsr_errors = 0;
		return uart->rx_count ? value | LSR_DATA : value;
	case UART_MSR:
		value = uart_modem_lines(uart) | uart->msr_delta;
		uart->msr_delta = 0;
		return value;
	default:
		return uart->scratch;
	}
}

static void uart_write8(void *device, u32 offset, u8 value)
{
	struct uart *uart = device;

	switch (offset) {
	case UART_DATA:
		if (uart->lcr & LCR_DLAB)
			uart->divisor[0] = value;
		else
			uart_transmit(uart, value);
		break;
	case UART_IER:
		if (uart->lcr & LCR_DLAB) {
			uart->divisor[1] = value;
			break;
		}
		if (value & ~uart->ier & IER_THRE)
			uart->thre_pending = true;
		uart->ier = value & IER_ALL;
		break;
	case UART_IIR:
		uart_write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		uart_write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scratch = value;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
}

static u64 uart_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct uart *uart = device;
	u64 value;

	spin_lock(&uart->lock);
	value = bytes_read(uart_read8, uart, offset, size);
	uart_update(uart);
	line_unlock(&uart->line, &uart->lock);
	return value;
}

static void uart_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct uart *uart = device;

	spin_lock(&uart->lock);
	bytes_write(uart_write8, uart, offset, size, value);
	uart_update(uart);
	line_unlock(&uart->line, &uart->lock);
}

static const struct bus_ops uart_ops = {uart_read, uart_write};

void uart_init(struct uart *uart, struct vm *vm)
{
	uart->vm = vm;
	line_init(&uart->line, vm, LAYOUT_UART_IRQ);
	bus_register(&vm->io, UART_PORT, 8, &uart_ops, uart);
}

void uart_poll(struct uart *uart)
{
	/* Whoever holds the lock brings the device forward; the next poll is soon. */
	if (!spin_trylock(&uart->lock))
		return;
	uart_flush_locked(uart);
	while (!(uart->mcr & MCR_LOOP) && uart->rx_count < uart_capacity(uart)) {
		int byte = port_console_read(uart->vm->id);

		if (byte < 0)
			break;
		uart_receive(uart, (u8)byte);
	}
	uart_update(uart);
	line_unlock(&uart->line, &uart->lock);
}

void uart_flush(struct uart *uart)
{
	spin_lock(&uart->lock);
	uart_flush_locked(uart);
	spin_unlock(&uart->lock);
}
