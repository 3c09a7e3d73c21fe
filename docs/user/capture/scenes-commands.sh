# The commands of docs/user/cli.md, and the recipes and the picture of the README.
cd /capture
mkdir $v2/demo.slice/web.service
sleep 1000 &
echo $! >$v2/demo.slice/web.service/cgroup.procs
mkdir $v2/demo.slice/old.service
rmdir $v2/demo.slice/old.service

capture exists exists /demo.slice/web.service
capture exists-removed exists /demo.slice/old.service --hierarchy v2
capture wait wait /demo.slice/web.service --timeout 30s --hierarchy v2
capture show show /demo.slice/web.service
capture show-pid show --pid 1 --hierarchy v2
capture list list '/demo.slice/*.service'
capture tree tree /demo.slice --hierarchy v2
capture top top --once /demo.slice --hierarchy v2
capture events events /demo.slice --kind mkdir,rmdir --since-seq 0 -n 3
capture log log /demo.slice --kind mkdir,rmdir -n 3
capture status status
capture verify verify
capture doctor doctor
capture config-check config check deploy/cgtrace.toml

# shell NAME COMMAND: the same with a shell's command.
shell() {
  { echo "\$ $2"; sh -c "$2"; } >"$out/$1.txt" 2>&1
  echo "$1: exit code $?"
}
shell metrics 'cgtrace metrics | grep "^cgtrace_cgroups{"'
shell readme-exists 'cgtrace exists -q /demo.slice/web.service && echo ready'
shell readme-events 'cgtrace events /demo.slice --since-seq 0 -n 1'
shell readme-why 'cgtrace why /demo.slice/wbe.service -H v2 | grep -m1 -A1 "what to do"'

# The picture: a service comes and goes while cgtrace follows.
cgtrace --color always events $kubelet --hierarchy v2 --kind mkdir,populated,exec,empty,rmdir \
  >$out/picture-events.ansi &
follower=$!
sleep 1
systemctl start kubelet.service
sleep 1
cgtrace --color always exists $kubelet --hierarchy v2 >$out/picture-present.ansi
systemctl stop kubelet.service
sleep 1
kill $follower
wait $follower
cgtrace --color always exists $kubelet --hierarchy v2 >$out/picture-removed.ansi
