/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The place of the VMX back end in the table of back ends. It refuses every processor, by name, so
 * that one image serves both vendors already: machine_init() asks each back end in turn.
 */
#include "postern/backend.h"

static bool vmx_probe(const char **why)
{
	*why = "this version of Postern has no VMX back end";
	return false;
}

const struct backend vmx_backend = {
        .name = "vmx",
        .hypercall = {0x0f, 0x01, 0xc1}, /* VMCALL */
        .probe = vmx_probe,
};
