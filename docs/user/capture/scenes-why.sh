# The causes of `cgtrace why` (docs/user/why.md), and the story of the README.
kubelet=/system.slice/kubelet.service

capture unit-not-started why $kubelet

cadvisor -listen_ip=127.0.0.1 -port 8080 -logtostderr >/tmp/cadvisor.log 2>&1 &
ask_cadvisor() {
  exec 3<>/dev/tcp/127.0.0.1/8080
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}
# Whether it has figures of a cgroup.
fields() { grep -oE '"(name|has_cpu|has_memory)":[^,]*' | head -n 3; }
until_true '[ "$(ask_cadvisor /healthz 2>/dev/null)" = ok ]'

systemd-run --scope --quiet --unit=session-3.scope --slice=user-0.slice sh -c 'kubelet 1000 & wait' &
until_true 'runs kubelet'
sleep 1
ask_cadvisor /api/v1.3/containers$kubelet >$out/outage-shell.cadvisor.txt
capture started-outside-systemd why $kubelet
systemctl stop session-3.scope

systemctl start kubelet.service
sleep 1
ask_cadvisor /api/v1.3/containers$kubelet | fields >$out/outage-unit.cadvisor.txt
capture present why $kubelet --hierarchy name=systemd
capture present-elsewhere why $kubelet --hierarchy memory
capture path-includes-mount why /sys/fs/cgroup/systemd$kubelet
capture similar-path-exists why /system.slice/kublet.service
systemctl set-property kubelet.service CPUAccounting=yes MemoryAccounting=yes
sleep 1
ask_cadvisor /api/v1.3/containers$kubelet | fields >$out/outage-end.cadvisor.txt
capture outage-end exists $kubelet --hierarchy memory
systemctl stop kubelet.service
capture removed why $kubelet --hierarchy name=systemd

demo=/demo.slice
mkdir $v2$demo
capture no-such-process why /system.slice/nothing.service
capture not-observed why /gone.slice --hierarchy v2

mkdir $v2$demo/job $v2$demo/elsewhere
sleep 1000 &
job=$!
echo $job >$v2$demo/job/cgroup.procs
sh -c "echo $job >$v2$demo/elsewhere/cgroup.procs"
capture moved-away why $demo/job --hierarchy v2

sleep 1000 &
early=$!
sleep 0.1
mkdir $v2$demo/late
capture created-after-observer why $demo/late --hierarchy v2 --pid $early

perl -e 'sleep 1000' -- --docker-only --kubelet-cgroups=$demo/late &
capture filtered-by-observer why $demo/late --hierarchy v2 --pid $!

perl -e 'mkdir "/sys/fs/cgroup/systemd/systemd"; mkdir $ARGV[1]; sleep 1000' -- \
  --kubelet-cgroups=/systemd$demo /sys/fs/cgroup/systemd/systemd$demo &
until_true '[ -d /sys/fs/cgroup/systemd/systemd$demo ]'
capture created-by-observer why /systemd$demo --hierarchy name=systemd --pid $!

mkdir $v2$demo/inner
capture namespace-relative why /..$demo/late --hierarchy v2

sh -c "echo \$\$ >$v2$demo/inner/cgroup.procs; exec unshare --cgroup --mount sh -c \
  'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec sleep 1000'" &
view=$!
until_true '[ "$(cat /proc/$view/comm)" = sleep ]'
capture namespace-mismatch why $demo/late --hierarchy v2 --pid $view

setpriv --reuid 65534 --clear-groups perl -e '$0 = "agent"; syscall(294, 0) for 1..200; sleep 1000' &
agent=$!
until_true '[ "$(cat /proc/$agent/comm)" = agent ]'
sleep 1
capture inotify-limit why $demo/late --hierarchy v2 --pid $agent
