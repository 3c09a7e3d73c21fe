#!/bin/bash
# Captures the outputs that the documents show, in a virtual machine with Debian's systemd as PID 1 and hybrid
# cgroups.
#   docs/user/capture/run.sh PROGRAM KERNEL
# PROGRAM: cgtrace, linked against a glibc of Debian 12 or older, or statically.
# KERNEL: an image of `cargo xtask vm` in target/lab/kernels, or another one with BTF.
# The machine's root is target/lab/bookworm, cAdvisor is target/lab/cadvisor; `cargo xtask test` fetches both.
# Needs qemu-system-x86_64 and cpio. The outputs are written to target/lab/captured/vm; insert.py puts them
# into the documents.
set -eu
here=$(dirname "$(realpath "$0")")
project=$(realpath "$here/../../..")
lab=$project/target/lab
program=$(realpath "$1") kernel=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root/usr/bin" "$root/usr/local/bin" "$root/etc/systemd/system/multi-user.target.wants" "$root/capture"
install -m 755 "$program" "$root/usr/bin/cgtrace"
install -m 755 "$lab/cadvisor/usr/bin/cadvisor" "$root/usr/local/bin/cadvisor"
cp "$here"/scenes*.sh "$root/capture/"
mkdir "$root/capture/deploy"
cp "$project/deploy/cgtrace.toml" "$root/capture/deploy/"
cat >"$root/etc/systemd/system/capture.service" <<UNIT
[Service]
Type=exec
ExecStart=/bin/bash /capture/scenes.sh
UNIT
# As on machines whose distribution accounts for nothing.
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultMemoryAccounting=no\n' >"$root/etc/systemd/system.conf.d/accounting.conf"
ln -s ../capture.service "$root/etc/systemd/system/multi-user.target.wants/capture.service"

archive() { (cd "$1" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0); }
{ archive "$lab/bookworm/"; archive "$root"; } >"$work/initrd"
timeout -k 5 900 qemu-system-x86_64 -machine pc -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults \
  -no-user-config -display none -no-reboot -serial "file:$work/console" -serial "file:$work/outputs" \
  -kernel "$kernel" -initrd "$work/initrd" \
  -append 'console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0 rdinit=/lib/systemd/systemd systemd.show_status=0 cgroup_disable=rdma,misc,hugetlb,perf_event,net_cls,net_prio,freezer,blkio' \
  </dev/null || true
mkdir -p "$lab/captured"
cp "$work/console" "$lab/captured/vm.console"
rm -rf "$lab/captured/vm"
mkdir "$lab/captured/vm"
tr -d '\r' <"$work/outputs" | base64 -d | tar -xzC "$lab/captured/vm"
ls "$lab/captured/vm"
