#!/bin/sh
# PID 1 of a virtual machine: mounts the usual file systems, and cgroups in the mode of cg=; runs /run-tests;
# powers off.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
for word in $(cat /proc/cmdline); do
	case $word in cg=*) mode=${word#cg=} ;; esac
done
case $mode in
v1 | hybrid)
	mount -t tmpfs cgroup /sys/fs/cgroup
	for controller in $(awk '!/^#/{print $1}' /proc/cgroups); do
		mkdir /sys/fs/cgroup/$controller
		mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller 2>/dev/null || rmdir /sys/fs/cgroup/$controller
	done
	mkdir /sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
	if [ $mode = hybrid ]; then
		mkdir /sys/fs/cgroup/unified
		mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
	fi
	;;
*) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
esac
ulimit -Hn 65536
ulimit -Sn 65536
# As in the unit: before Linux 5.11, the rings count as locked memory.
ulimit -l unlimited
ip link set lo up 2>/dev/null
sh /place-tests
read up _ </proc/uptime
echo "@@BEGIN $up"
sh /run-tests
echo "@@EXIT $?"
sync
reboot -f
