/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the control area intercepts. APM volume 2, "SVM Intercept Codes", "MSR Intercepts", "IOIO
 * Intercepts". Pure but for reading the two permission maps.
 */
#include "cpu_model/model.h"
#include "postern/port.h"

bool model_intercepts(const struct vmcb_control *control, u64 exit_code)
{
	u32 bit = exit_code & 31;

	if (exit_code < 0x20)
		return control->intercept_cr >> bit & 1;
	if (exit_code < 0x40)
		return control->intercept_dr >> bit & 1;
	if (exit_code < 0x60)
		return control->intercept_exceptions >> bit & 1;
	if (exit_code < 0x80)
		return control->intercept_misc1 >> bit & 1;
	if (exit_code < 0xa0)
		return control->intercept_misc2 >> bit & 1;
	return exit_code < 0xc0 && (control->intercept_misc3 >> bit & 1);
}

bool model_intercepts_msr(const struct vmcb_control *control, u32 msr, bool write)
{
	const u8 *map;
	u32 bit;

	if (!(control->intercept_misc1 & SVM_MSR_PROT))
		return false;
	map = hpa_to_ptr(HPA(control->msrpm_base & PAGE_MASK));
	if (msr < 0x2000)
		bit = msr * 2;
	else if (msr - 0xc0000000u < 0x2000)
		bit = 0x4000 + (msr - 0xc0000000u) * 2;
	else if (msr - 0xc0010000u < 0x2000)
		bit = 0x8000 + (msr - 0xc0010000u) * 2;
	else
		return true;
	bit += write;
	return map[bit / 8] >> bit % 8 & 1;
}

bool model_intercepts_io(const struct vmcb_control *control, u16 port, u32 size)
{
	const u8 *map;

	if (!(control->intercept_misc1 & SVM_IOIO_PROT))
		return false;
	map = hpa_to_ptr(HPA(control->iopm_base & PAGE_MASK));
	for (u32 bit = port; bit < port + size; bit++)
		if (map[bit / 8] >> bit % 8 & 1)
			return true;
	return false;
}
