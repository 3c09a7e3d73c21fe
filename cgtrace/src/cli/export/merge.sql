-- Adds the attached segment `s` to the database. Tables `of_*` map the segment's numbers to the new ones.

create temp table if not exists of_boot (old integer primary key, new integer);
create temp table if not exists of_clock (old integer primary key, new integer);
create temp table if not exists of_hierarchy (old integer primary key, new integer);
create temp table if not exists of_path (old integer primary key, new integer);
create temp table if not exists of_cgroup (old integer primary key, new integer);
create temp table if not exists offsets (
    task integer, creation integer, exec integer, gap integer, period integer
);
delete from of_boot;
delete from of_clock;
delete from of_hierarchy;
delete from of_path;
delete from of_cgroup;
delete from offsets;
insert into offsets select
    (select coalesce(max(no), 0) from main.task), (select coalesce(max(no), 0) from main.creation),
    (select coalesce(max(no), 0) from main.exec), (select coalesce(max(no), 0) from main.gap),
    (select coalesce(max(no), 0) from main.period);

insert or ignore into main.kind select no, name from s.kind;

insert into main.boot (id)
select id from s.boot where id not in (select id from main.boot) order by no;
insert into of_boot select b.no, m.no from s.boot b join main.boot m on m.id = b.id;

insert into main.clock (boot, zero_wall_ns)
select o.new, c.zero_wall_ns from s.clock c join of_boot o on o.old = c.boot
where not exists (select 1 from main.clock m where m.boot = o.new and m.zero_wall_ns = c.zero_wall_ns)
order by c.no;
insert or ignore into of_clock
select c.no, m.no from s.clock c join of_boot o on o.old = c.boot
    join main.clock m on m.boot = o.new and m.zero_wall_ns = c.zero_wall_ns;

insert into main.hierarchy (boot, id, name)
select o.new, h.id, h.name from s.hierarchy h join of_boot o on o.old = h.boot
where not exists (select 1 from main.hierarchy m where m.boot = o.new and m.id = h.id and m.name is h.name)
group by o.new, h.id, h.name order by min(h.no);
insert or replace into of_hierarchy
select h.no, m.no from s.hierarchy h join of_boot o on o.old = h.boot
    join main.hierarchy m on m.boot = o.new and m.id = h.id and m.name is h.name;

insert or ignore into main.path (path) select path from s.path order by no;
insert into of_path select p.no, m.no from s.path p join main.path m on m.path = p.path;

insert into main.task (no, pid, tid, ppid, uid, start_boot_ns, comm, cgroup)
select t.no + x.task, t.pid, t.tid, t.ppid, t.uid, t.start_boot_ns, t.comm, p.new
from s.task t join offsets x left join of_path p on p.old = t.cgroup;

insert into main.creation (no, clock, boot_ns, origin, by)
select n.no + x.creation, c.new, n.boot_ns, n.origin, n.by + x.task
from s.creation n join offsets x join of_clock c on c.old = n.clock;

-- Rows of events keep their numbers.
insert into of_cgroup select no, no from s.cgroup where no > 0;
-- What existed when the segment began is stored already, if the segment before is.
insert or ignore into of_cgroup
select g.no, max(m.no) from s.cgroup g
    join of_hierarchy h on h.old = g.hierarchy
    left join of_path p on p.old = g.dir
    join main.cgroup m on m.id = g.id and m.hierarchy = h.new and m.dir is p.new and m.leaf is g.leaf
where g.no < 0 and m.ended is null
group by g.no;
-- Anything else gets the next free numbers.
insert into of_cgroup
select g.no, (select min(0, coalesce(min(no), 0)) from main.cgroup) - row_number() over (order by g.no desc)
from s.cgroup g where g.no < 0 and g.no not in (select old from of_cgroup);

-- What existed according to the segment before, but not when this one began, was removed during its gap.
update main.cgroup set ended = -(select min(g.no) + x.gap from s.gap g join offsets x)
where ended is null and no not in (select new from of_cgroup)
    and exists (select 1 from s.gap) and (select has_live_set from s.segment);

insert into main.cgroup (no, hierarchy, id, dir, leaf, creation, ended)
select o.new, h.new, g.id, p.new, g.leaf, g.creation + x.creation,
    case when g.ended < 0 then g.ended - x.gap else g.ended end
from s.cgroup g join offsets x join of_cgroup o on o.old = g.no
    join of_hierarchy h on h.old = g.hierarchy left join of_path p on p.old = g.dir
where o.new not in (select no from main.cgroup);
-- The others have ended since.
update main.cgroup set ended = found.ended
from (
    select o.new as no, case when g.ended < 0 then g.ended - x.gap else g.ended end as ended
    from s.cgroup g join offsets x join of_cgroup o on o.old = g.no where g.no < 0 and g.ended is not null
) as found
where main.cgroup.no = found.no and main.cgroup.ended is null;

insert into main.event (seq, clock, boot_ns, kind, cgroup, source, task, by, flags, lost)
select e.seq, c.new, e.boot_ns, e.kind, g.new, f.new, e.task + x.task, e.by + x.task, e.flags, e.lost
from s.event e join offsets x join of_clock c on c.old = e.clock
    left join of_cgroup g on g.old = e.cgroup left join of_cgroup f on f.old = e.source;

insert into main.exec (no, seq, clock, boot_ns, task)
select e.no + x.exec, e.seq, c.new, e.boot_ns, e.task + x.task
from s.exec e join offsets x join of_clock c on c.old = e.clock;
insert into main.exec_cgroup (exec, hierarchy, dir, leaf)
select e.exec + x.exec, h.new, p.new, e.leaf
from s.exec_cgroup e join offsets x join of_hierarchy h on h.old = e.hierarchy
    left join of_path p on p.old = e.dir order by e.rowid;
insert into main.exec_ancestor (exec, depth, task)
select e.exec + x.exec, e.depth, e.task + x.task from s.exec_ancestor e join offsets x order by e.rowid;

insert into main.gap (no, reason, after_seq, until_seq, events, from_clock, from_boot_ns, until_clock,
    until_boot_ns, uid)
select g.no + x.gap, g.reason, g.after_seq, g.until_seq, g.events, f.new, g.from_boot_ns, u.new,
    g.until_boot_ns, g.uid
from s.gap g join offsets x join of_clock u on u.old = g.until_clock
    left join of_clock f on f.old = g.from_clock;

insert into main.period (no, from_clock, from_boot_ns, from_seq, until_clock, until_boot_ns, until_seq, ended)
select p.no + x.period, f.new, p.from_boot_ns, p.from_seq, u.new, p.until_boot_ns, p.until_seq, p.ended
from s.period p join offsets x join of_clock f on f.old = p.from_clock
    join of_clock u on u.old = p.until_clock;

-- The whole begins as its oldest segment does.
insert into main.segment (number, next_seq, clock, boot_ns, has_live_set, live_bytes, run_seq)
select s.number, s.next_seq, c.new, s.boot_ns, s.has_live_set, s.live_bytes, s.run_seq
from s.segment s join of_clock c on c.old = s.clock where not exists (select 1 from main.segment);
