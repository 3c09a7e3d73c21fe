#!/bin/bash
# Runs in the virtual machine of run.sh: brings each situation about, and writes what cgtrace prints to /out.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec >/dev/ttyS0 2>&1 </dev/null
# In a scope, as a shell of root would be.
if [ $# = 0 ]; then
  exec systemd-run --scope --quiet --unit=shell.scope bash "$0" session
fi
out=/out
v2=/sys/fs/cgroup/unified
mkdir -p $out

# capture NAME ARGUMENT...: the command with its prompt, and what it printed.
capture() {
  local name=$1
  shift
  echo "# cgtrace ${*@Q}" | sed -E "s/'([A-Za-z0-9_.:,=\/-]*)'/\1/g" >"$out/$name.txt"
  # Until systemd answers in time, on an emulated processor.
  for _ in 1 2 3 4 5 6 7 8; do
    cgtrace "$@" >"$out/output" 2>&1
    code=$?
    grep -q '^note: the service manager' "$out/output" || break
    sleep 1
  done
  cat "$out/output" >>"$out/$name.txt"
  rm "$out/output"
  echo "$name: exit code $code"
}
# Whether a process of that name runs.
runs() { grep -qsx "$1" /proc/[0-9]*/comm; }
until_true() { until eval "$1"; do sleep 0.05; done; }

finish() {
  uname -r >$out/kernel.txt
  date -u +%F >$out/date.txt
  tar -czC $out . | base64 >/dev/ttyS1
  sync
  systemctl reboot -ff
}
trap finish EXIT

# Brings the loopback up, where cAdvisor listens: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING.
perl -e 'socket(my $socket, 2, 2, 0); my $request = pack("a16s", "lo", 0x41); ioctl($socket, 0x8914, $request)'
cp /bin/sleep /usr/local/bin/kubelet
cat >/etc/systemd/system/kubelet.service <<UNIT
[Unit]
Description=kubelet: The Kubernetes Node Agent
[Service]
Type=exec
ExecStart=/usr/local/bin/kubelet 1000
UNIT
systemctl daemon-reload
systemd-run --quiet --unit=cgtrace --service-type=notify cgtrace daemon
until_true 'cgtrace --daemon-only status >/dev/null'

for part in why commands events; do
  echo "== $part"
  . /capture/scenes-$part.sh
done
