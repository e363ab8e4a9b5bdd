# SPDX-License-Identifier: BSD-2-Clause
# Part of tests/system/run: the image of scripts/make-iso, as a CD and as a disk, on PCs with a BIOS and with
# UEFI, without the host command. What the first serial port shows is the console.

OVMF=/usr/share/OVMF

# make_iso GUEST...: with that kernel, and what follows as further files
make_iso() {
	iso=$OUT/$name.iso
	printf 'vcpus=2\nmemory=268435456\n' >"$OUT/$name.config"
	printf 'console=ttyS0 panic=-1' >"$OUT/$name.cmdline"
	scripts/make-iso "$iso" "$BUILD/postern.elf" log=console config="$OUT/$name.config" \
		kernel0="$1" cmdline0="$OUT/$name.cmdline" "${@:2}" 2>"$err" || wrong "no image: $(cat "$err")"
}

# iso_on_qemu SECONDS ARGUMENT...: ended by the image, with the status of REPORT_EXIT_OK
iso_on_qemu() {
	status=0
	timeout -k 2 "$1" qemu-system-x86_64 -accel tcg,thread=single -machine pc -cpu max -smp 2 -m 768M \
		-display none -nodefaults -no-reboot -serial "file:$log" -serial "file:$cut" \
		-device isa-debug-exit,iobase=0x501,iosize=2 "${@:2}" 2>>"$err" || status=$?
	expect_status 33
}

# iso_drive AS FIRMWARE: the arguments for QEMU
iso_drive() {
	drive=(-cdrom "$iso")
	[ "$1" = cd ] || drive=(-drive "file=$iso,format=raw,snapshot=on")
	[ "$2" = ovmf ] || return 0
	cp $OVMF/OVMF_VARS.fd "$OUT/$name.vars"
	drive+=(-drive "if=pflash,format=raw,readonly=on,file=$OVMF/OVMF_CODE.fd"
		-drive "if=pflash,format=raw,file=$OUT/$name.vars")
}

expect_iso() {
	expect_console '^postern: processors: 2,'
	expect_console "^postern: $1: 2 processors"
	expect_console "$2"
}

# test_iso AS FIRMWARE
test_iso() {
	make_iso "$GUEST/micro/hello.elf"
	iso_drive "$@"
	iso_on_qemu 120 "${drive[@]}"
	expect_iso svm 'hello from a micro guest, vcpus 0*2$'
	rm -f "$iso"
}

# The demonstration, as `make iso` has it.
test_iso_linux() {
	make_iso "$GUEST/vmlinuz-6.12" initrd0="$GUEST/initrd.img"
	iso_drive "$@"
	iso_on_qemu 300 "${drive[@]}"
	expect_iso svm 'guest: Linux 6\.12\.[^ ]*, CPUs 2'
	expect_workload
	rm -f "$iso"
}

test_iso_bochs() {
	local dir=$OUT/$name.bochs
	make_iso "$GUEST/micro/hello.elf"
	rm -rf "$dir"
	mkdir "$dir"
	cat >"$dir/bochsrc" <<-END
		display_library: term
		config_interface: textconfig
		plugin_ctrl: sb16=0, es1370=0, speaker=0, gameport=0, parallel=0
		sound: driver=dummy, waveout=/dev/null
		clock: sync=none, time0=local
		cpu: model=tigerlake, count=2, ips=50000000, reset_on_triple_fault=0
		memory: guest=512, host=512
		romimage: file=/usr/share/bochs/BIOS-bochs-latest
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		ata0-master: type=cdrom, path=$iso, status=inserted
		boot: cdrom
		com1: enabled=1, mode=file, dev=$log
		port_e9_hack: enabled=1
		log: /dev/null
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		debug: action=ignore
	END
	echo c >"$dir/rc"
	TERM=dumb timeout -k 2 120 bochs -q -f "$dir/bochsrc" -rc "$dir/rc" </dev/null >"$dir/out" 2>>"$err"
	expect_iso vmx 'hello from a micro guest, vcpus 0*2$'
	grep -q 'Shutdown port: shutdown requested' "$err" || wrong "it was not the image that ended it"
	rm -f "$iso"
}

# Without a serial port: log and console on the screen. It is looked at until they are there.
test_iso_screen() {
	local screen=$OUT/$name.screen i qemu monitor
	printf 'vcpus=2\nmemory=268435456\n' >"$OUT/$name.config"
	printf '' >"$OUT/$name.cmdline"
	iso=$OUT/$name.iso
	scripts/make-iso "$iso" "$BUILD/postern.elf" console=screen config="$OUT/$name.config" \
		kernel0="$GUEST/micro/hello.elf" cmdline0="$OUT/$name.cmdline" 2>"$err" || wrong "no image"
	rm -f "$screen"
	coproc QEMU {
		timeout -k 2 90 qemu-system-x86_64 -accel tcg,thread=single -machine pc -cpu max -smp 2 \
			-m 768M -display none -vga std -nodefaults -no-reboot -cdrom "$iso" \
			-monitor stdio >/dev/null 2>>"$err"
	}
	qemu=$QEMU_PID
	monitor=${QEMU[1]}
	for ((i = 0; i < 60; i++)); do
		echo "pmemsave 0xb8000 4000 \"$screen\"" 1>&"$monitor" || break
		sleep 1
		! tr -d '\0\a' <"$screen" 2>/dev/null | grep -aq 'hello from a micro guest' || break
	done
	echo quit 1>&"$monitor"
	wait "$qemu"
	tr -d '\0\a' <"$screen" | fold -w 80 >"$log"
	expect_iso svm 'hello from a micro guest, vcpus 0*2 *$'
	rm -f "$iso"
}

check iso-cd-seabios test_iso cd seabios
check iso-disk-ovmf test_iso disk ovmf
check iso-screen test_iso_screen
if $full; then
	check iso-disk-seabios test_iso disk seabios
	check iso-cd-ovmf test_iso cd ovmf
	check iso-cd-bochs test_iso_bochs
	check iso-linux-seabios test_iso_linux cd seabios
	check iso-linux-ovmf test_iso_linux disk ovmf
fi
