/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID of the model processor. APM volume 3, "Obtaining Processor Information Via the CPUID
 * Instruction"; SDM volume 2, "CPUID - CPU Identification". Its features beyond the ordinary ones are switches (enum model_feature).
 */
#include "cpu_model/model.h"
#include "postern/port.h"

static void features(struct model_cpu *cpu, struct cpuid_regs *r)
{
	r->eax = model_has(MODEL_FAMILY_17H) ? 0x00830f10 : 0x00100f42; /* family 10h */
	if (model_has(MODEL_INTEL))
		r->eax = 0x000206c2; /* family 6 */
	r->ebx = cpu->index << 24 | 8u << 8;
	r->ecx = BIT(0) | BIT(13) | BIT(23); /* SSE3, CMPXCHG16B, POPCNT */
	r->edx = 0x078bfbff;                 /* FPU .. SSE2: the x86-64 baseline */
	if (model_has(MODEL_INTEL) && !model_has(MODEL_NO_VMX))
		r->ecx |= BIT(5); /* VMX */
	if (model_has(MODEL_XSAVE))
		r->ecx |= BIT(26) | BIT(27) | BIT(28); /* XSAVE, OSXSAVE, AVX */
}

static void xsave_leaf(u32 subleaf, struct cpuid_regs *r)
{
	if (!model_has(MODEL_XSAVE))
		return;
	if (subleaf == 0) {
		r->eax = XCR0_X87 | XCR0_SSE | XCR0_AVX;
		r->ebx = r->ecx = 832;
	} else if (subleaf == 2) {
		r->eax = 256;
		r->ebx = 576;
	}
}

static void svm_leaf(struct cpuid_regs *r)
{
	if (model_has(MODEL_NO_SVM | MODEL_INTEL))
		return;
	r->eax = 1;
	r->ebx = MODEL_ASIDS;
	r->ecx = model_has(MODEL_X2AVIC_EXT) ? SVM_CPUID_X2AVIC_EXT : 0;
	r->edx = (model_has(MODEL_AVIC) ? SVM_CPUID_AVIC : 0) |
	         (model_has(MODEL_X2AVIC) ? SVM_CPUID_X2AVIC : 0) |
	         (model_has(MODEL_NO_NPT) ? 0 : SVM_CPUID_NP) |
	         (model_has(MODEL_NRIPS) ? SVM_CPUID_NRIPS : 0) |
	         (model_has(MODEL_CLEAN_BITS) ? SVM_CPUID_CLEAN : 0) |
	         (model_has(MODEL_FLUSH_ASID) ? SVM_CPUID_FLUSH_ASID : 0) |
	         (model_has(MODEL_DECODE_ASSIST) ? SVM_CPUID_DECODE : 0) |
	         (model_has(MODEL_PAUSE_FILTER) ? SVM_CPUID_PAUSE_FILTER : 0);
}

/* "AuthenticAMD" or "GenuineIntel". */
static struct cpuid_regs vendor(u32 max_leaf)
{
	if (model_has(MODEL_INTEL))
		return (struct cpuid_regs){max_leaf, 0x756e6547, 0x6c65746e, 0x49656e69};
	return (struct cpuid_regs){max_leaf, 0x68747541, 0x444d4163, 0x69746e65};
}

/* SYSCALL, NX, LM; 1 GiB pages, RDTSCP. SVM, and AltMovCr8, are AMD's. */
static void extended_features(struct cpuid_regs *r)
{
	r->edx = 0x2193fbff | BIT(26) | BIT(27);
	r->ecx = BIT(0); /* LAHF */
	if (model_has(MODEL_INTEL)) {
		r->edx = BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29);
		return;
	}
	r->eax = 0x00100f42;
	r->ecx |= (model_has(MODEL_NO_SVM) ? 0 : BIT(2)) | BIT(4);
}

/* Intel's caches: 32 KiB of data and of instructions, 256 KiB, 12 MiB. */
static struct cpuid_regs cache_leaf(u32 subleaf)
{
	static const struct cpuid_regs caches[] = {
	        {0x3c000121, 0x01c0003f, 63, 0},
	        {0x3c000122, 0x00c0003f, 127, 0},
	        {0x3c000143, 0x01c0003f, 511, 0},
	        {0x3c07c163, 0x03c0003f, 12287, 2},
	};

	if (!model_has(MODEL_INTEL) || subleaf >= ARRAY_SIZE(caches))
		return (struct cpuid_regs){0};
	return caches[subleaf];
}

void model_cpuid(struct model_cpu *cpu, u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	switch (leaf) {
	case 0:
		*r = vendor(0xd);
		break;
	case 1:
		features(cpu, r);
		break;
	case 4:
		*r = cache_leaf(subleaf);
		break;
	case 0xd:
		xsave_leaf(subleaf, r);
		break;
	case 0x80000000:
		*r = vendor(model_has(MODEL_INTEL) ? 0x80000008 : CPUID_SVM);
		break;
	case 0x80000001:
		extended_features(r);
		break;
	case 0x80000007:
		r->edx = BIT(8); /* invariant TSC */
		break;
	case 0x80000008:
		r->eax = 0x3028;
		break;
	case CPUID_SVM:
		svm_leaf(r);
		break;
	default:
		break;
	}
}
