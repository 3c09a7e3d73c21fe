# One event of each kind (docs/user/events.md).
kubelet=/system.slice/kubelet.service
cgtrace --json events >/tmp/all &
follower=$!
sleep 1

systemctl start kubelet.service
jobs=$v2/demo.slice/jobs
mkdir $jobs $jobs/child
# clone3(CLONE_INTO_CGROUP) of a child into $jobs/child
perl -e '
  sysopen(my $dir, $ARGV[0], 0200000) or die; my $args = pack("Q11", 0x200000000, (0) x 3, 17, (0) x 5, fileno $dir);
  my $pid = syscall(435, $args, 88); exec "sleep", "1000" unless $pid; sleep 1000' $jobs/child &
sleep 0.5
sleep 1000 &
echo $! >$jobs/cgroup.procs
echo $! >$v2/demo.slice/elsewhere/cgroup.procs
mkdir /sys/fs/cgroup/pids/old
mv /sys/fs/cgroup/pids/old /sys/fs/cgroup/pids/new
sh -c "echo 1 >$jobs/cgroup.freeze"
sleep 0.2
sh -c "echo 0 >$jobs/cgroup.freeze"
sleep 0.2

pinned=/sys/fs/cgroup/cpuset/pinned
mkdir $pinned
echo 1 >$pinned/cpuset.cpus
echo 0 >$pinned/cpuset.mems
sleep 1000 &
echo $! >$pinned/cgroup.procs
echo 0 >/sys/devices/system/cpu/cpu1/online
sleep 0.5
echo 1 >/sys/devices/system/cpu/cpu1/online

mkdir /tmp/jobs
mount -t cgroup -o none,name=jobs cgroup /tmp/jobs
mount -t cgroup -o remount,none,name=jobs,release_agent=/bin/true cgroup /tmp/jobs
umount /tmp/jobs
systemctl stop kubelet.service
sleep 1
kill $follower
wait $follower

# kind FIELD...: the first event of a kind whose line has all of these strings.
kind() {
  local name=$1 kind=$2 lines
  shift 2
  lines=$(grep "\"kind\":\"$kind\"" /tmp/all)
  for string in "$@"; do lines=$(grep -F "$string" <<<"$lines"); done
  head -n 1 <<<"$lines" >"$out/event-$name.txt"
}
for name in mkdir rmdir release populated empty; do kind $name $name "\"hierarchy\":\"v2\"" "\"path\":\"$kubelet\""; done
kind exec exec '"comm":"kubelet"'
kind attach attach '"path":"/demo.slice/elsewhere"' '"from"'
kind fork fork '/demo.slice/jobs/child'
kind rename rename '/new'
for name in freeze thaw frozen thawed; do kind $name $name '"path":"/demo.slice/jobs"'; done
kind transfer transfer '"hierarchy":"cpuset"'
for name in hierarchy-created remount hierarchy-destroyed; do kind $name $name 'name=jobs'; done

# A loss: a daemon with the smallest rings is stopped while cgroups come and go.
small="cgtrace --runtime-dir /run/small"
$small daemon --lifecycle-ring 1 --activity-ring 1 &
daemon=$!
until_true '$small --daemon-only status >/dev/null 2>&1'
$small --json events --kind mkdir,rmdir,lost,resynced >/tmp/all &
follower=$!
sleep 0.5
kill -STOP $daemon
perl -e 'for (1..10000) { mkdir "$ARGV[0]/$_"; rmdir "$ARGV[0]/$_" } mkdir "$ARGV[0]/last"' $v2/demo.slice
kill -CONT $daemon
for _ in $(seq 300); do
  grep -q '"resynced".*"v2"' /tmp/all && break
  sleep 0.1
done
kill $follower
wait $follower
kind inferred mkdir '"path":"/demo.slice/last"' '"inferred":true'
kind lost lost
kind resynced resynced '"hierarchy":"v2"'
kill $daemon
