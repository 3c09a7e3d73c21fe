-- One segment of cgtrace's history: SQLite, application_id 0x63677472 ("cgtr"), user_version 1.
--
-- For people there are views: events, instances, execs, gaps, periods. The tables below them avoid repeating
-- text. A time is ns since boot (boot_ns) on a clock: wall time in ns since 1970 = zero_wall_ns + boot_ns.

-- The segment itself; one row.
create table segment (
    number integer not null,       -- segments are numbered from 1
    next_seq integer not null,     -- the number of the first event that it can hold
    run_seq integer not null,      -- the numbers after this one are the same run's of the daemon: without a jump
    clock integer not null,        -- when it was begun
    boot_ns integer not null,
    has_live_set integer not null, -- 1: it begins with every cgroup that existed then
    live_bytes integer not null    -- about what that takes
) strict;

-- Boots of the machine (/proc/sys/kernel/random/boot_id). Ids of cgroups and hierarchies repeat across boots.
create table boot (no integer primary key, id text not null) strict;

-- The wall clock at zero of the boot clock. A clock that is set begins another row.
create table clock (no integer primary key, boot integer not null, zero_wall_ns integer not null) strict;

-- id: the first field of /proc/PID/cgroup. name: as there, `v2` for the default hierarchy; null if unknown.
create table hierarchy (no integer primary key, boot integer not null, id integer not null, name text) strict;

-- Paths of directories, without a trailing slash: '' is a root's.
create table path (no integer primary key, path text not null unique) strict;

create table task (
    no integer primary key,
    pid integer not null,
    tid integer not null,
    ppid integer not null,
    uid integer not null,
    start_boot_ns integer not null,
    comm text not null,
    cgroup integer                 -- path of its cgroup on the default hierarchy, if known
) strict;

-- A cgroup under one path. no: the event that created it or gave it this path; negative: it existed when the
-- segment, or its observation, began.
create table cgroup (
    no integer primary key,
    hierarchy integer not null,
    id integer not null,
    dir integer,                   -- path of its parent; null if unknown
    leaf text,                     -- its name; '' for a root
    creation integer,              -- null: created by the event `no`
    ended integer                  -- the event that removed or renamed it; negative: removed during that gap
) strict;
create index cgroup_by_id on cgroup (id);
create index cgroup_by_name on cgroup (dir, leaf, hierarchy);
create index cgroup_that_exists on cgroup (hierarchy) where ended is null;
create index cgroup_that_ended_in_gap on cgroup (ended) where ended < 0;

-- How a cgroup was created, if not by an event of this segment. origin: 0 observed, 1 inferred, 2 it existed
-- at that time.
create table creation (
    no integer primary key,
    clock integer not null,
    boot_ns integer not null,
    origin integer not null,
    by integer
) strict;

create table kind (no integer primary key, name text not null) strict;

create table event (
    seq integer primary key,
    clock integer not null,
    boot_ns integer not null,
    kind integer not null,
    cgroup integer,
    source integer,                -- the cgroup that a task came from, or the old path of a rename
    task integer,                  -- the task that was moved, forked or executed a program
    by integer,                    -- the task that caused it
    flags integer,                 -- 1 inferred, 2 a whole process was moved, 4 a single thread was
    lost integer                   -- number of lost records
) strict;
create index move_by_cgroup on event (cgroup) where kind in (5, 6, 7);
create index move_by_source on event (source) where kind in (5, 6, 7);
create index renames on event (kind) where kind = 3;

-- Processes with tracked names. seq: the event of its exec; null: it was running before it was tracked.
create table exec (
    no integer primary key,
    seq integer,
    clock integer not null,
    boot_ns integer not null,
    task integer not null
) strict;
create table exec_cgroup (exec integer not null, hierarchy integer not null, dir integer, leaf text) strict;
create index exec_cgroup_by_exec on exec_cgroup (exec);
create table exec_ancestor (exec integer not null, depth integer not null, task integer not null) strict;
create index exec_ancestor_by_exec on exec_ancestor (exec);

-- What is not stored, and why. The numbers of its events are in after_seq + 1 .. until_seq.
create table gap (
    no integer primary key,
    reason text not null,
    after_seq integer not null,
    until_seq integer not null,
    events integer,                -- how many; null: unknown
    from_clock integer,            -- null: unknown
    from_boot_ns integer,
    until_clock integer not null,
    until_boot_ns integer not null,
    uid integer                    -- of the user whose events these are; reason quota only
) strict;
create index gap_by_end on gap (until_seq);

-- The runs of the daemon. until: its last stored event, or its end.
create table period (
    no integer primary key,
    from_clock integer not null,
    from_boot_ns integer not null,
    from_seq integer not null,     -- the first event has the next number
    until_clock integer not null,
    until_boot_ns integer not null,
    until_seq integer not null,
    ended integer not null         -- 1: the daemon stopped, and everything up to then is stored
) strict;

create view cgroup_paths as
select g.no, h.boot, h.name as hierarchy, g.id, p.path || '/' || g.leaf as path, g.ended, g.creation
from cgroup g join hierarchy h on h.no = g.hierarchy left join path p on p.no = g.dir;

create view tasks as
select t.no, t.comm || '[' || t.pid || ']' as process, t.uid,
    case p.path when '' then '/' else p.path end as cgroup
from task t left join path p on p.no = t.cgroup;

create view events as
select e.seq,
    strftime('%Y-%m-%d %H:%M:%S', (c.zero_wall_ns + e.boot_ns) / 1000000000, 'unixepoch')
        || printf('.%09d', (c.zero_wall_ns + e.boot_ns) % 1000000000) as time,
    k.name as kind, g.hierarchy, g.path, s.path as "from", t.process as task, b.process as by, b.uid as by_uid,
    b.cgroup as by_cgroup, coalesce(e.flags, 0) & 1 as inferred, e.lost, g.id, e.boot_ns, boot.id as boot_id
from event e
    join clock c on c.no = e.clock
    join boot on boot.no = c.boot
    join kind k on k.no = e.kind
    left join cgroup_paths g on g.no = e.cgroup
    left join cgroup_paths s on s.no = e.source
    left join tasks t on t.no = e.task
    left join tasks b on b.no = e.by
order by e.seq;

create view instances as
select g.hierarchy, g.path, g.id,
    coalesce(m.time, strftime('%Y-%m-%d %H:%M:%S', (cc.zero_wall_ns + n.boot_ns) / 1000000000, 'unixepoch')
        || printf('.%09d', (cc.zero_wall_ns + n.boot_ns) % 1000000000)) as created,
    case when n.origin = 2 then 'existed then' when n.origin = 1 or m.inferred then 'inferred' end as creation,
    coalesce(m.by, b.process) as created_by,
    r.time as removed, r.by as removed_by, r.inferred as removal_inferred,
    case when g.ended < 0 then 'unknown: ' || gap.reason when g.ended is null then 'exists' else r.kind end as "end",
    coalesce(m.boot_id, boot.id) as boot_id
from cgroup_paths g
    join boot on boot.no = g.boot
    left join creation n on n.no = g.creation
    left join clock cc on cc.no = n.clock
    left join tasks b on b.no = n.by
    left join events m on m.seq = g.no and g.creation is null
    left join events r on r.seq = g.ended
    left join gap on gap.no = -g.ended;

create view execs as
select e.seq,
    strftime('%Y-%m-%d %H:%M:%S', (c.zero_wall_ns + e.boot_ns) / 1000000000, 'unixepoch') as time,
    t.process, t.uid, t.cgroup, e.seq is not null as observed,
    (select group_concat(process, ' < ') from (
        select a.process from exec_ancestor x join tasks a on a.no = x.task where x.exec = e.no order by x.depth
    )) as ancestors,
    boot.id as boot_id
from exec e join clock c on c.no = e.clock join boot on boot.no = c.boot join tasks t on t.no = e.task;

create view gaps as
select g.reason, g.events,
    strftime('%Y-%m-%d %H:%M:%S', (f.zero_wall_ns + g.from_boot_ns) / 1000000000, 'unixepoch') as "from",
    strftime('%Y-%m-%d %H:%M:%S', (u.zero_wall_ns + g.until_boot_ns) / 1000000000, 'unixepoch') as until,
    g.uid, g.after_seq, g.until_seq
from gap g left join clock f on f.no = g.from_clock join clock u on u.no = g.until_clock
union all
select 'lost in the kernel', e.lost, null, e.time, null, e.seq - 1, e.seq from events e where e.kind = 'lost';

create view periods as
select
    strftime('%Y-%m-%d %H:%M:%S', (f.zero_wall_ns + p.from_boot_ns) / 1000000000, 'unixepoch') as "from",
    strftime('%Y-%m-%d %H:%M:%S', (u.zero_wall_ns + p.until_boot_ns) / 1000000000, 'unixepoch') as until,
    p.ended, p.from_seq, p.until_seq, boot.id as boot_id
from period p
    join clock f on f.no = p.from_clock
    join clock u on u.no = p.until_clock
    join boot on boot.no = f.boot;
