#!/bin/bash
# Brings causes of docs/user/why.md about for real, on this machine, and prints what `cgtrace why` says of each.
#   docs/capture-why.sh target/debug/cgtrace      as root, on a machine with name=systemd and v2 mounted (hybrid)
# The scenes that need a systemd are captured by `cargo xtask test why::` and `beside::` in target/lab/captured/.
set -u
cgtrace=$(realpath "$1")
folder=$(mktemp -d)
cgroups=/sys/fs/cgroup/unified
name=cgtrace-test-doc
pids=()
cleanup() {
  kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  for hierarchy in unified systemd; do
    find "/sys/fs/cgroup/$hierarchy/$name" -depth -type d -exec rmdir {} \; 2>/dev/null
    find "/sys/fs/cgroup/$hierarchy/systemd/$name" -depth -type d -exec rmdir {} \; 2>/dev/null
    rmdir "/sys/fs/cgroup/$hierarchy/systemd" 2>/dev/null
  done
  rm -rf "$folder"
}
trap cleanup EXIT
why() { echo "# cgtrace why $*"; "$cgtrace" --runtime-dir "$folder/run" why "$@"; echo; }
scene() { echo "== $1"; }

mkdir "$cgroups/$name"
CGTRACE_LOG=warn "$cgtrace" --runtime-dir "$folder/run" daemon & pids+=($!)
until "$cgtrace" --runtime-dir "$folder/run" status >/dev/null 2>&1; do sleep 0.1; done

scene no-such-process
why "/$name/nothing"

scene moved-away
mkdir "$cgroups/$name/job" "$cgroups/$name/elsewhere"
sleep 1000 & pids+=($!)
job=$!
echo "$job" >"$cgroups/$name/job/cgroup.procs"
sh -c "echo $job >$cgroups/$name/elsewhere/cgroup.procs"
why "/$name/job" --on v2

scene removed
mkdir "$cgroups/$name/short"
rmdir "$cgroups/$name/short"
why "/$name/short" --on v2

scene unknown-before
why /gone.slice --on v2

scene after-asker-started
sleep 1000 & pids+=($!)
early=$!
sleep 0.1
mkdir "$cgroups/$name/late"
why "/$name/late" --on v2 --pid "$early"

scene hidden-from-asker
perl -e '$| = 1; print "ready\n"; sleep 1000' -- --docker-only --kubelet-cgroups=/"$name"/late >"$folder/ready" & pids+=($!)
hidden=$!
until [ -s "$folder/ready" ]; do sleep 0.05; done
why "/$name/late" --on v2 --pid "$hidden"

scene made-by-asker
perl -e 'mkdir "/sys/fs/cgroup/systemd/systemd"; mkdir $ARGV[1]; sleep 1000' -- "--kubelet-cgroups=/systemd/$name" \
  "/sys/fs/cgroup/systemd/systemd/$name" & pids+=($!)
maker=$!
until [ -d "/sys/fs/cgroup/systemd/systemd/$name" ]; do sleep 0.05; done
why "/systemd/$name" --on name=systemd --pid "$maker"

scene namespace-relative
mkdir "$cgroups/$name/inner"
why "/../$name/late" --on v2

scene other-host-view
sh -c "echo \$\$ >$cgroups/$name/inner/cgroup.procs; exec unshare --cgroup --mount sh -c \
  'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec sleep 1000'" & pids+=($!)
view=$!
sleep 0.5
why "/$name/late" --on v2 --pid "$view"
