/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages, sent by the PCI test device (docs/testdev.md). SDM volume 3, "Message Signalled
 * Interrupts"; PCI Local Bus Specification 3.0, "MSI Capability Structure".
 */
#include "tests/model/rules.h"

#define V 0x61

/* The device. */
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define DEVICE         (0x80000000u | RULES_MSIDEV_SLOT << 11)
#define COMMAND        0x04
#define BAR            0x10
#define MSI            0x50
#define MSI_LOW        (MSI + 4)
#define MSI_HIGH       (MSI + 8)
#define MSI_DATA       (MSI + 12)
#define MSI_MASK       (MSI + 16)
#define MSI_PENDING    (MSI + 20)
#define MASTER         0x0006 /* and memory */
#define MSI_ON         0x10000
#define TRIGGER        0x2c

/* Messages. */
#define ADDRESS(dest) (0xfee00000u | (u32)(dest) << 12)
#define REDIRECT      BIT(3)
#define LOGICAL       BIT(2)

static void set_ldr(u32 id)
{
	if (harness.xapic)
		g_apic_write(APIC_LDR, 1u << (24 + id));
}

static void config_write(u32 reg, u32 value)
{
	g_out(CONFIG_ADDRESS, DEVICE | reg, 4);
	g_out(CONFIG_DATA, value, 4);
}

static u32 config_read(u32 reg)
{
	g_out(CONFIG_ADDRESS, DEVICE | reg, 4);
	return g_in(CONFIG_DATA, 4);
}

static void begin(void)
{
	rules_begin();
	set_ldr(0);
	config_write(COMMAND, MASTER);
	config_write(MSI_MASK, 0);
	config_write(MSI, MSI_ON);
}

static void trigger(u32 events)
{
	g_mmio_write((config_read(BAR) & ~0xfu) + TRIGGER, events);
}

static void send_from(u32 high, u32 address, u32 data)
{
	config_write(MSI_HIGH, high);
	config_write(MSI_LOW, address);
	config_write(MSI_DATA, data);
	trigger(1);
}

static void send(u32 address, u32 data)
{
	send_from(0, address, data);
}

static void msi_destinations(void)
{
	begin();
	send(ADDRESS(2), V);
	rules_check_reached(V, BIT(2));
	send(ADDRESS(0xff), V); /* 8 bits: ones are everybody in x2APIC mode, too */
	rules_check_reached(V, 0xf);
	send(ADDRESS(9), V); /* nobody has that ID */
	rules_check_reached(V, 0);
	send(ADDRESS(0x0a) | LOGICAL, V);
	rules_check_reached(V, BIT(1) | BIT(3));
	/* Bits that mean nothing in the compatibility format. */
	send(ADDRESS(2) | 0xff3, 0x3000 | V);
	rules_check_reached(V, BIT(2));
	/* Not messages at all. */
	send(0xfed00000u | 1 << 12, V);
	rules_check_reached(V, 0);
	send_from(1, ADDRESS(2), V);
	rules_check_reached(V, 0);
}

static void msi_lowest_priority(void)
{
	static const u32 how[][2] = {
	        {ADDRESS(0x0e) | REDIRECT | LOGICAL, V},
	        {ADDRESS(0x0e) | LOGICAL, APIC_DM_LOWEST | V},
	};

	begin();
	for (u32 i = 0; i < ARRAY_SIZE(how); i++) {
		send(how[i][0], how[i][1]);
		rules_fence(RULES_ALL);
		G_CHECK_EQUAL(rules.total[V], 1);
		G_CHECK_EQUAL(rules.count[0][V], 0);
		rules_forget();
	}
}

static void msi_each_event(void)
{
	begin();
	for (u32 i = 1; i <= 5; i++) {
		send(ADDRESS(2), V);
		rules_fence(RULES_ALL);
		G_CHECK_EQUAL(rules.count[2][V], i);
	}
	/* Sent before the last one was taken, they melt. */
	config_write(MSI_LOW, ADDRESS(0));
	trigger(3);
	rules_let_in();
	G_CHECK_EQUAL(rules.count[0][V], 1);
}

/* One goes when the device may send again, as the registers say by then. */
static void msi_masked_is_held(void)
{
	begin();
	config_write(MSI_MASK, 1);
	send(ADDRESS(0), V);
	trigger(2);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(config_read(MSI_PENDING), 1);
	config_write(MSI_DATA, 0x71);
	config_write(MSI_MASK, 0);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(rules.total[0x71], 1);
	G_CHECK_EQUAL(config_read(MSI_PENDING), 0);
	/* A message is a write to memory: not without bus mastering. */
	config_write(COMMAND, MASTER & 0x2);
	trigger(1);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 1);
	config_write(COMMAND, MASTER);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 2);
	/* Disabled meanwhile: forgotten. */
	config_write(MSI_MASK, 1);
	trigger(1);
	config_write(MSI, 0);
	config_write(MSI, MSI_ON);
	config_write(MSI_MASK, 0);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 2);
}

static void msi_delivery_modes(void)
{
	static const u32 nothing[] = {3u << 8 | V, APIC_DM_SIPI | HARNESS_SIPI, APIC_DM_SMI};

	begin();
	send(ADDRESS(1), APIC_DM_NMI | V);
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.count[1][VECTOR_NMI], 1);
	/* An edge, whatever the trigger mode says. */
	send(ADDRESS(1), APIC_TRIGGER_LEVEL | APIC_DM_NMI);
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.count[1][VECTOR_NMI], 2);
	/* The reserved ones, and SMI: nothing. */
	for (u32 i = 0; i < ARRAY_SIZE(nothing); i++)
		send(ADDRESS(1), nothing[i]);
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(rules.total[VECTOR_NMI], 2);
	/* ExtINT without the 8259 pair asking: nothing to acknowledge. */
	send(ADDRESS(1), APIC_DM_EXTINT | V);
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.logged, 6); /* two NMIs and the fences */
	rules_errors();
	send(ADDRESS(0), 0x0c);
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_RECV_ILLEGAL);
	/* INIT: it answers no more. */
	send(ADDRESS(1), APIC_DM_INIT | V);
	rules_fixed(1, V);
	for (u32 i = 0; i < 100; i++)
		g_pause();
	G_CHECK_EQUAL(rules.total[V], 0);
}

static void level_in_service(u8 vector)
{
	if (vector == V)
		G_CHECK(rules_vector_bit(APIC_TMR, V));
}

static void msi_level(void)
{
	rules.hook = level_in_service;
	begin();
	send(ADDRESS(0), APIC_TRIGGER_LEVEL | V); /* takes nothing back, brings nothing */
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	send(ADDRESS(0), APIC_TRIGGER_LEVEL | APIC_LEVEL_ASSERT | V);
	G_CHECK(rules_vector_bit(APIC_TMR, V));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	/* Its end is told to nobody: no line is behind it. */
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
}

static const struct rule list[] = {
        RULE(msi_destinations, .msidev = true, .vcpus = 4, .other = set_ldr),
        RULE(msi_lowest_priority, .msidev = true, .vcpus = 4, .other = set_ldr),
        RULE(msi_each_event, .msidev = true, .vcpus = 3),
        RULE(msi_masked_is_held, .msidev = true),
        RULE(msi_delivery_modes, .msidev = true, .vcpus = 2),
        RULE(msi_level, .msidev = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
