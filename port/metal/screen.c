/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen of a PC that its firmware has left in text mode: for machines without a serial port. Only what a
 * log and a Linux console need: lines, the carriage's return, backspace and tabulator; escape sequences are
 * left out. "Multiboot2 Specification" 2.0, "Framebuffer info", tells whether there is such a mode; with UEFI
 * there is none. A character is two bytes, the second one its colours.
 */
#include "metal.h"

#define GREY_ON_BLACK 0x0700
#define TAB           8
#define ESCAPE        0x1b

static struct {
	volatile u16 *cell; /* NULL: not used. (i), as the next */
	u32 columns, rows, pitch;
	u32 column, row; /* [the console's lock], as the next */
	enum {
		PLAIN,
		ESCAPED,  /* behind ESC */
		SEQUENCE, /* behind ESC [ */
	} state;
} screen;

static volatile u16 *cell(u32 row, u32 column)
{
	return &screen.cell[row * screen.pitch + column];
}

static void scroll(void)
{
	for (u32 row = 0; row < screen.rows; row++)
		for (u32 column = 0; column < screen.columns; column++)
			*cell(row, column) = row + 1 < screen.rows ? *cell(row + 1, column)
			                                           : GREY_ON_BLACK | ' ';
}

static void next_line(void)
{
	screen.column = 0;
	if (screen.row + 1 < screen.rows)
		screen.row++;
	else
		scroll();
}

static void put(u8 byte)
{
	if (screen.column == screen.columns)
		next_line();
	*cell(screen.row, screen.column++) = (u16)(GREY_ON_BLACK | byte);
}

static void control(u8 byte)
{
	switch (byte) {
	case '\n':
		next_line();
		break;
	case '\r':
		screen.column = 0;
		break;
	case '\b':
		screen.column -= screen.column > 0;
		break;
	case '\t':
		do
			put(' ');
		while (screen.column % TAB);
		break;
	case ESCAPE:
		screen.state = ESCAPED;
		break;
	}
}

static void take(u8 byte)
{
	if (screen.state == ESCAPED)
		screen.state = byte == '[' ? SEQUENCE : PLAIN;
	else if (screen.state == SEQUENCE)
		screen.state = byte >= 0x40 && byte <= 0x7e ? PLAIN : SEQUENCE;
	else if (byte < ' ')
		control(byte);
	else
		put(byte);
}

bool screen_start(void)
{
	const struct boot_text *text = &boot_info.text;

	if (!text->address || !text->columns || !text->rows)
		return false;
	screen.columns = text->columns;
	screen.rows = text->rows;
	screen.pitch = text->pitch / 2;
	screen.cell = hpa_to_ptr(HPA(text->address));
	for (u32 row = 0; row < screen.rows; row++)
		scroll();
	return true;
}

void screen_write(const u8 *data, u32 len)
{
	for (u32 i = 0; screen.cell && i < len; i++)
		take(data[i]);
}
