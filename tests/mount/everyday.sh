#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Everyday programs on a stream that is large for them: 100,000 entries. tools.sh has them on small ones.
. "$(dirname "$0")/common.sh"

count=100000
last=$((count - 1))
big=$mnt/big
exec 3>&1

# took COMMAND…: and says how long
took() {
	local begin=${EPOCHREALTIME/./} said=$*

	"$@"
	said=${said//"$work/"/}
	echo "# $(((${EPOCHREALTIME/./} - begin) / 1000)) ms: ${said:0:100}" >&3
}

# A number and up to 90 zeros each; and a stream to copy.
fill() {
	awk -v count="$count" 'BEGIN { for (i = 0; i < count; i++) printf "%d %0" (i % 91) "d\n", i, 0 }' >"$work/lines"
	"$WALCTL" init "$store"
	"$WALCTL" append "$store" big "$work/lines" --create --lines --sync=async >/dev/null
	head -n 3000 "$work/lines" | "$WALCTL" append "$store" few --create --lines --sync=async >/dev/null
	tr -d '\n' <"$work/lines" >"$work/joined"
	mount_store sync=batch
}

# shellcheck disable=SC2012 # ls is what is tested
listings() {
	[ "$(took ls -U "$big" | wc -l)" -eq $((count + 1)) ]
	[ "$(took ls "$big" | tail -n 2 | tr '\n' ' ')" = "$(entry "$last") new " ]
	took ls -l "$big" | awk 'NR > 1 { sum += $5; n++ } END { print n, sum }' >"$work/listed"
	[ "$(cat "$work/listed")" = "$((count + 1)) $(wc -c <"$work/joined")" ]
	took ls -lU "$big" | awk 'NR > 1 { sum += $5; n++ } END { print n, sum }' | cmp "$work/listed" -
	[ "$(took ls -i "$big" | sort -k 1n | awk '{ print $2 }' | grep -v new | head -n 1)" = "$(entry 0)" ]
}

finds() {
	[ "$(took find "$big" -type f -newer "$big/$((last - 10))" -name '0*' | wc -l)" -eq 10 ]
	[ "$(took find "$big" -name '*77' | wc -l)" -eq $((count / 100)) ]
	[ "$(took find "$big" -size -10c -name '0*' -printf '%s\n' | sort -n | tail -n 1)" -eq 9 ]
	[ "$(find "$big" -path "*/$(entry 4711)" -printf '%f %s\n')" = "$(entry 4711) $(stat -c %s "$big/4711")" ]
}

disk_usage() {
	local directory=8

	find "$big" -name '0*' -printf '%s %b\n' | awk '{ sizes += $1; blocks += $2 } END { print sizes, blocks }' >"$work/sums"
	[ "$(cut -d ' ' -f 1 "$work/sums")" -eq "$(wc -c <"$work/joined")" ]
	[ "$(took du -s -b "$big" | cut -f 1)" -eq $(("$(wc -c <"$work/joined")" + "$(stat -c %s "$big")")) ]
	directory=$(stat -c %b "$big")
	[ "$(took du -s -B 512 "$big" | cut -f 1)" -eq $(("$(cut -d ' ' -f 2 "$work/sums")" + directory)) ]
	[ "$(du --inodes -s "$big" | cut -f 1)" -eq $((count + 2)) ]
}

reading_all() {
	took grep -r -h "^$last " "$big" | cmp - <(tail -n 1 "$work/lines" | tr -d '\n'; echo)
	[ "$(grep -rl ' 0$' "$mnt/few" | wc -l)" -eq "$(head -n 3000 "$work/lines" | grep -c ' 0$')" ]
	(cd "$big" && took find . -name '0*' -print0 | sort -z | xargs -0 cat) | cmp - "$work/joined"
	(cd "$mnt/few" && sha256sum 0* >"$work/few.sums")
	[ "$(wc -l <"$work/few.sums")" -eq 3000 ]
	(cd "$mnt/few" && printf '%s' "$(sed -n 1234p "$work/lines")" | sha256sum | cut -c 1-64) | cmp - <(sed -n 1234p "$work/few.sums" | cut -c 1-64)
}

unharmed() {
	(cd "$mnt/few" && sha256sum --quiet -c "$work/few.sums")
}

# The second takes only what is new, and looks at nothing else.
tar_twice() {
	took tar -c --no-check-device --listed-incremental="$work/snapshot" -f "$work/0.tar" -C "$mnt" big
	[ "$(tar -tf "$work/0.tar" | grep -c 'big/0')" -eq "$count" ]
	remount sync=batch
	echo one >"$big/new"
	echo two >"$big/new"
	took tar -c --no-check-device --listed-incremental="$work/snapshot" -f "$work/1.tar" -C "$mnt" big
	[ "$(tar -tf "$work/1.tar" | grep -v '/$' | tr '\n' ' ')" = "big/$(entry "$count") big/$(entry $((count + 1))) " ]
	{ cat "$work/joined"; printf 'one\ntwo\n'; } | cmp - <(tar -xOf "$work/0.tar" && tar -xOf "$work/1.tar")
	rm "$work"/?.tar
}

statistic() {
	sed -n "s/^$1: \([0-9,]*\).*/\1/p" "$work/stats" | tr -d ,
}

rsync_twice() {
	took rsync -a --stats "$mnt/few" "$work/mirror" >"$work/stats"
	[ "$(statistic 'Number of regular files transferred')" -eq 3001 ]
	remount sync=batch
	echo three >"$mnt/few/new"
	took rsync -a --stats "$mnt/few" "$work/mirror" >"$work/stats"
	[ "$(statistic 'Number of regular files transferred')" -eq 1 ]
	[ "$(statistic 'Total transferred file size')" -eq 6 ]
	[ "$(statistic 'Literal data')" -eq 6 ]
	rsync -ac --delete --stats "$mnt/few" "$work/mirror" >"$work/stats"
	[ "$(statistic 'Number of regular files transferred')" -eq 0 ]
	[ "$(statistic 'Number of deleted files')" -eq 0 ]
	diff -r "$mnt/few" "$work/mirror/few"
}

cp_copies() {
	took cp -a "$mnt/few" "$work/copy"
	diff -r "$mnt/few" "$work/copy"
	find "$mnt/few" -name '0*' -printf '%f %m %s %T@\n' | sort | diff - <(find "$work/copy" -name '0*' -printf '%f %m %s %T@\n' | sort)
	# again: nothing is newer
	cp -auv "$mnt/few/." "$work/copy" >"$work/copied"
	fails grep -q "/0.* -> " "$work/copied"
}

# Entry by entry, and none is gone.
destruction() {
	fails rm -rf "$mnt"/few/* 2>"$work/err"
	[ "$(grep -c 'Operation not permitted' "$work/err")" -eq 3002 ]
	unharmed
	fails rm -rf "$mnt/few" 2>"$work/err"
	[ "$(grep -c 'Operation not permitted' "$work/err")" -eq 3002 ]
	unharmed
	mkdir "$work/stolen"
	fails mv "$mnt"/few/000000000000000000[01]* "$work/stolen" 2>"$work/err"
	unharmed
	fails mv "$mnt/few" "$mnt/other"
	fails find "$mnt/few" -delete 2>"$work/err"
	fails rsync -a --delete "$work/stolen/" "$mnt/few/" 2>"$work/err"
	fails rsync -a "$work/lines" "$mnt/few/" 2>"$work/err"
	unharmed
	[ "$(find "$mnt/few" -name '0*' | wc -l)" -eq 3001 ]
}

# A program's output and errors: one entry, and what it shows is the same.
through_tee() {
	new_stream
	sh -c 'echo out; echo err >&2; echo more' 2>&1 | tee "$s/new" >"$work/shown"
	cmp "$s/0" "$work/shown"
	[ "$(wc -l <"$s/0")" -eq 3 ]
	mkdir "$mnt/second-$number"
	seq 10000 | tee -a "$s/new" "$mnt/second-$number/new" | cmp - <(seq 10000)
	cmp "$s/1" <(seq 10000)
	cmp "$s/1" "$mnt/second-$number/0"
	has_entries 2
}

# A database is an entry like any other; where it lies it can be read, and not be written.
a_database() {
	new_stream
	python3 - "$work/base" "$s" <<'END'
import shutil, sqlite3, sys
base, stream = sys.argv[1:]
db = sqlite3.connect(base)
db.execute("create table t(n integer primary key, text)")
db.executemany("insert into t values(?, ?)", ((i, f"row {i} " * 20) for i in range(5000)))
db.commit()
db.close()
shutil.copyfile(base, stream + "/new")
db = sqlite3.connect(f"file:{stream}/0?mode=ro", uri=True)
assert db.execute("pragma integrity_check").fetchone() == ("ok",)
assert db.execute("select count(*), max(n) from t").fetchone() == (5000, 4999)
try:
    sqlite3.connect(stream + "/0").execute("delete from t")
    sys.exit("an entry was changed")
except sqlite3.OperationalError as e:
    assert "readonly" in str(e), e
shutil.copyfile(stream + "/0", base + "2")
db = sqlite3.connect(base + "2")
db.execute("delete from t where n < 100")
db.commit()
assert db.execute("select count(*) from t").fetchone() == (4900,)
END
	cmp "$work/base" "$s/0"
	has_entries 1
}

check "fill and mount" fill
mountpoint -q "$mnt" || finish
check "ls -U, ls, ls -l, ls -i" listings
check "find -newer, -name, -size" finds
check "du and stat" disk_usage
check "grep -r, cat, sha256sum" reading_all
check "tar --listed-incremental twice" tar_twice
check "rsync twice" rsync_twice
check "cp -a" cp_copies
check "rm -rf, mv, find -delete, rsync --delete are refused" destruction
check "tee" through_tee
check "sqlite" a_database
unmount_at_end
