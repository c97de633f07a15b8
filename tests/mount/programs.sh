#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Programs that people have open on a log all day: a syslog daemon, editors, pagers, git, inotify; and what they make of a file system without extended
# attributes.
. "$(dirname "$0")/common.sh"

PATH=$PATH:/sbin:/usr/sbin

# ---- Writers ----

perl_writes() {
	new_stream
	# shellcheck disable=SC2016 # it is Perl
	perl -e 'use strict; my $s = shift;
		for my $i (0 .. 9) { open(my $f, ">", "$s/new") or die $!; print $f "line $i\n" or die $!; close($f) or die $!; }
		open(my $f, ">>", "$s/.lines") or die $!; $f->autoflush(1); print $f "$_\n" for "a".."e"; close($f) or die $!;
		open($f, "<", "$s/3") or die $!; <$f> eq "line 3\n" or die; ' -MIO::Handle "$s"
	has_entries 15
	[ "$(cat "$s/9" "$s/10" "$s/14")" = "$(printf 'line 9\na\ne')" ]
	# shellcheck disable=SC2016 # it is Perl
	fails perl -e 'open(my $f, ">", shift) or exit 1' "$s/3"
	perl -i -pe 's/line/LINE/' "$s/3" 2>"$work/err"
	grep -q 'Operation not permitted' "$work/err"
	[ "$(cat "$s/3")" = "line 3" ]
}

dd_writes() {
	new_stream
	seq 100000 >"$work/numbers"
	dd if="$work/numbers" of="$s/new" bs=1000 status=none
	dd if="$work/numbers" of="$s/new" bs=64k conv=fsync,notrunc status=none
	# with O_SYNC every write is an entry
	dd if="$work/numbers" of="$s/new" bs=100000 count=3 oflag=sync status=none
	cmp "$s/0" "$work/numbers"
	cmp "$s/1" "$work/numbers"
	has_entries 5
	cat "$s/2" "$s/3" "$s/4" | cmp - <(head -c 300000 "$work/numbers")
	dd if="$work/numbers" of="$s/.lines" bs=777 status=none
	[ "$(count_entries)" -eq 100005 ]
	cmp "$s/.from/5" "$work/numbers"
}

app_through_tee() {
	new_stream
	sh -c 'for i in 1 2 3; do echo "out $i"; echo "err $i" >&2; done' 2>&1 | tee -a "$s/.lines" | cmp - "$s/.log"
	has_entries 6
}

# ---- A syslog daemon ----

rsyslog_conf() {
	cat <<-END
	global(workDirectory="$work" maxMessageSize="64k")
	module(load="imuxsock" SysSock.Use="off")
	module(load="imfile")
	input(type="imuxsock" Socket="$work/socket" RateLimit.Interval="0")
	input(type="imfile" File="$work/program.log" Tag="program:")
	template(name="line" type="string" string="%syslogtag%%msg%\n")
	action(type="omfile" file="$s/.lines" template="line")
	END
}

# messages FIRST LAST: a datagram each, as logger(1) sends them
messages() {
	python3 -S - "$work/socket" "$1" "$2" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(sys.argv[1])
for i in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
    s.send(b"<13>Nov 20 09:00:00 app: message %d" % i + b" x" * (4000 if i % 100 == 50 else 0))
END
}

syslog() {
	new_stream
	rsyslog_conf >"$work/rsyslog.conf"
	rsyslogd -N1 -f "$work/rsyslog.conf" 2>"$work/err"
	rsyslogd -n -f "$work/rsyslog.conf" -i "$work/rsyslog.pid" >"$work/err" 2>&1 &
	within 20 [ -S "$work/socket" ]
	messages 1 1
	within 20 has_entries 1
	[ "$(cat "$s/0")" = "app: message 1" ]
	messages 2 500
	printf 'from a file %d\n' 1 2 3 >"$work/program.log"
	within 30 has_entries 503
	[ "$(grep -c '^app: message ' "$s/.log")" -eq 500 ]
	[ "$(grep -c '^program:from a file ' "$s/.log")" -eq 3 ]
	[ "$(grep '^app' "$s/.log" | tail -n 1)" = "app: message 500" ]
	[ "$(stat -c %s "$s/49")" -gt 8000 ]
	# it goes on with the same file after a HUP, as logrotate sends it
	kill -HUP "$(cat "$work/rsyslog.pid")"
	messages 501 600
	within 30 has_entries 603
	kill -TERM "$(cat "$work/rsyslog.pid")"
	wait
	rm -f "$work/rsyslog.pid"
	[ "$(sort "$s/.log" | uniq | wc -l)" -eq 603 ]
}

# ---- Editors and pagers ----

# "$editor" -es: without a screen, commands from standard input
edit() {
	timeout 20 "$editor" -u NONE -i NONE -n -es "$@"
}

editors() {
	new_stream
	printf 'first line\nsecond line\n' >"$s/new"
	editor=$(command -v vim || command -v vi)
	printf '1print\nq!\n' | edit "$s/$(entry 0)" >"$work/said" || true
	grep -q 'first line' "$work/said"
	# it knows that the file is read-only, and is refused if it insists
	printf 'set readonly?\nq!\n' | edit "$s/$(entry 0)" >"$work/said" || true
	grep -q '^ *readonly' "$work/said"
	fails edit "$s/$(entry 0)" <<<$'1substitute/first/FIRST/\nwrite\nquit'
	fails edit "$s/$(entry 0)" <<<$'1substitute/first/FIRST/\nwrite!\nquit'
	[ "$(head -n 1 "$s/0")" = "first line" ]
	# a copy is edited, and appended
	cp "$s/0" "$work/draft"
	chmod u+w "$work/draft"
	edit "$work/draft" <<<$'1substitute/first/FIRST/\nwrite\nquit'
	cat "$work/draft" >"$s/new"
	holds 'first line\nsecond line\n' 'FIRST line\nsecond line\n'
	# neither swap files nor backups are left, nor can they be made
	[ "$(find "$s" -name '*~' -o -name '.*.sw?' | wc -l)" -eq 0 ]
}

pagers() {
	new_stream
	seq 300 >"$s/new"
	seq 301 400 >"$s/new"
	[ "$(TERM=dumb less -FX "$s/$(entry 0)")" = "$(seq 300)" ]
	[ "$(TERM=dumb less -FX "$s/.log")" = "$(seq 400)" ]
	[ "$(TERM=dumb less -FX "$s/.last" | tail -n 1)" = 400 ]
}

# ---- git ----

quiet_git() {
	HOME=$work GIT_CONFIG_NOSYSTEM=1 git -c user.name=a -c user.email=a@b -c init.defaultBranch=main -c safe.directory='*' "$@"
}

git_in_a_copy() {
	new_stream
	for i in 1 2 3; do echo "entry $i" >"$s/new"; done
	cp -r "$s" "$work/repository"
	rm "$work/repository/new"
	(
		cd "$work/repository"
		quiet_git init -q
		quiet_git add .
		quiet_git commit -qm one
		[ -z "$(quiet_git status --porcelain)" ]
		echo "entry 4" >"$s/new"
		cp "$s/$(entry 3)" .
		[ "$(quiet_git status --porcelain)" = "?? $(entry 3)" ]
	)
}

# The mount as the work tree of a repository that lies elsewhere: a history of what was appended.
git_with_a_stream_as_its_work_tree() {
	new_stream
	for i in 1 2 3; do echo "entry $i" >"$s/new"; done
	quiet_git init -q --bare "$work/history"
	quiet_git --git-dir="$work/history" --work-tree="$s" add -A
	quiet_git --git-dir="$work/history" --work-tree="$s" commit -qm three
	[ "$(quiet_git --git-dir="$work/history" ls-files | wc -l)" -eq 4 ]
	echo "entry 4" >"$s/new"
	[ "$(quiet_git --git-dir="$work/history" --work-tree="$s" status --porcelain)" = "?? $(entry 3)" ]
	quiet_git --git-dir="$work/history" --work-tree="$s" add -A
	quiet_git --git-dir="$work/history" --work-tree="$s" commit -qm four
	remount
	# nothing has changed by that, and what git reads again is as it was
	quiet_git --git-dir="$work/history" --work-tree="$s" diff --exit-code
	[ -z "$(quiet_git --git-dir="$work/history" --work-tree="$s" status --porcelain)" ]
	# it can neither take anything away nor put it back
	quiet_git --git-dir="$work/history" --work-tree="$s" checkout -q HEAD~1 2>"$work/err"
	grep -q 'unable to unlink' "$work/err"
	fails quiet_git --git-dir="$work/history" --work-tree="$s" rm -q "$s/$(entry 0)"
	holds 'entry 1\n' 'entry 2\n' 'entry 3\n' 'entry 4\n'
	# in the mount itself there is no repository to be made
	fails quiet_git init -q "$s" 2>"$work/err"
	fails quiet_git init -q "$mnt" 2>"$work/err"
}

# ---- inotify ----

inotify() {
	new_stream
	echo zero >"$s/new"
	python3 -S "$here/inotify.py" "$mnt" "$(basename "$s")"
}

# ---- Extended attributes ----

# There are none. Asked once, the kernel does not ask again: it costs nobody a request.
extended_attributes() {
	local before

	new_stream
	echo zero >"$s/new"
	python3 -S - "$s" <<'END'
import errno, os, sys
acl = lambda p: os.getxattr(p, "system.posix_acl_access")
for path in (sys.argv[1], sys.argv[1] + "/0", sys.argv[1] + "/new"):
    for call in (os.listxattr, lambda p: os.getxattr(p, "user.x"), lambda p: os.setxattr(p, "user.x", b"y"), lambda p: os.removexattr(p, "user.x"),
                 acl, lambda p: os.getxattr(p, "security.selinux")):
        try:
            call(path)
            sys.exit(f"{path} has attributes")
        except OSError as e:
            # ACLs are the kernel's: there is none
            assert e.errno == errno.ENOTSUP or e.errno == errno.ENODATA and call is acl, e
END
	for i in {1..100}; do echo "$i" >"$s/new"; done
	before=$(requests)
	find "$s" -name '0*' -exec python3 -S -c 'import os, sys
for path in sys.argv[1:]:
    try: os.listxattr(path)
    except OSError: pass' {} +
	# opening and listing, and nothing for each of the entries
	[ $(($(requests) - before)) -lt 250 ]
	# whom it does not keep from anything
	tar --xattrs --acls --selinux -cf "$work/x.tar" -C "$mnt" "$(basename "$s")" 2>"$work/err"
	[ "$(tar -tf "$work/x.tar" | wc -l)" -eq 103 ]
	cp -a "$s" "$work/a"
	cp -r --preserve=all "$s" "$work/all"
	cp --preserve=xattr "$s/0" "$work/one"
	rsync -aX "$s" "$work/mirror" 2>"$work/err"
	[ ! -s "$work/err" ]
	diff -r "$work/a" "$work/mirror/$(basename "$s")"
	cmp "$s/0" "$work/one"
}

requests() {
	sed -n 's/^walfs_mount_requests_total.* //p' "$mnt/.stats" | awk '{ sum += $1 } END { print sum }'
}

# optional NAME FUNCTION PROGRAM
optional() {
	if command -v "$3" >/dev/null; then
		check "$1" "$2"
	else
		skip "$1" "$3 is missing"
	fi
}

mount_at_start
optional "perl" perl_writes perl
check "dd" dd_writes
check "an application's output through tee -a" app_through_tee
optional "rsyslogd" syslog rsyslogd
optional "vi" editors vi
optional "less" pagers less
optional "git in a copy" git_in_a_copy git
optional "git with a stream as its work tree" git_with_a_stream_as_its_work_tree git
check "inotify" inotify
check "extended attributes" extended_attributes
unmount_at_end
