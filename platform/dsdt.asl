// SPDX-License-Identifier: BSD-2-Clause
// The devices of the machine that a guest cannot find by asking them. Addresses are those of
// platform/layout.h and of the devices' own headers; nothing here depends on the VM, since RAM
// below 4 GiB always ends at or below the PCI window.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "PSTERN", "POSTERN", 1)
{
    // SLP_TYP of soft-off, for PM1a and the PM1b that does not exist.
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
            })

            // INTA# of the slots that a device may be in: even ones at IRQ 10, odd ones at IRQ 11, of
            // the 8259s and of the I/O APIC alike.
            Name (_PRT, Package ()
            {
                Package () { 0x0004FFFF, 0, 0, 10 },
                Package () { 0x0005FFFF, 0, 0, 11 },
                Package () { 0x0006FFFF, 0, 0, 10 },
                Package () { 0x0007FFFF, 0, 0, 11 }
            })

            Device (RTC0)
            {
                Name (_HID, EisaId ("PNP0B00"))
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x0070, 0x0070, 1, 2)
                    IRQNoFlags () { 8 }
                })
            }

            Device (COM1)
            {
                Name (_HID, EisaId ("PNP0501"))
                Name (_UID, 1)
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                    IRQNoFlags () { 4 }
                })
            }

            Device (PIC0)
            {
                Name (_HID, EisaId ("PNP0000"))
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x0020, 0x0020, 1, 2)
                    IO (Decode16, 0x00A0, 0x00A0, 1, 2)
                    IO (Decode16, 0x04D0, 0x04D0, 1, 2)
                    IRQNoFlags () { 2 }
                })
            }

            Device (PIT0)
            {
                Name (_HID, EisaId ("PNP0100"))
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x0040, 0x0040, 1, 4)
                    IRQNoFlags () { 0 }
                })
            }

            // Ports that are taken and that no driver claims.
            Device (MBRD)
            {
                Name (_HID, EisaId ("PNP0C02"))
                Name (_UID, 0)
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x0061, 0x0061, 1, 1)
                    IO (Decode16, 0x0080, 0x0080, 1, 0x10)
                    IO (Decode16, 0x0092, 0x0092, 1, 1)
                    IO (Decode16, 0x00F4, 0x00F4, 1, 4)
                    IO (Decode16, 0x0505, 0x0505, 1, 1)
                    IO (Decode16, 0x0600, 0x0600, 1, 0x10)
                })
            }
        }
    }
}
