#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A `new` that is open for reading too tells the id of what it has appended.
. "$(dirname "$0")/common.sh"

shell_reads_the_id() {
	local id

	new_stream
	exec 3<>"$s/new"
	[ -z "$(cat <&3)" ]
	echo hello >&3
	[ "$(cat <&3)" = 0 ]
	[ -z "$(cat <&3)" ]
	echo again >&3
	[ "$(head -n 1 <&3)" = 1 ]
	/bin/echo "a program" >&3
	read -r id <&3
	[ "$id" -eq 2 ]
	exec 3>&-
	holds 'hello\n' 'again\n' 'a program\n'
}

# Each handle its own, whatever others append meanwhile.
of_this_handle() {
	local id

	new_stream
	exec 3<>"$s/new" 4<>"$s/new"
	echo by 3 >&3
	echo by 4 >&4
	echo by another >"$s/new"
	[ "$(cat <&3)" = 0 ]
	[ "$(cat <&4)" = 1 ]
	exec 3>&- 4>&-
}

many_writers_find_their_own() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
def run(w):
    fd = os.open(s + "/new", os.O_RDWR)
    for i in range(50):
        text = b"%d %d" % (w, i)
        os.write(fd, text)
        os.fsync(fd)
        id = int(os.read(fd, 100))
        assert open(f"{s}/{id}", "rb").read() == text
pids = []
for w in range(8):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run(w)
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
END
	has_entries 400
}

in_pieces_and_at_offsets() {
	new_stream
	seq 1200 >"$s/.batch"
	python3 - "$s/new" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
assert os.read(fd, 10) == b"" and os.pread(fd, 10, 5) == b""
os.write(fd, b"one")
assert os.read(fd, 10) == b""		# nothing is committed yet
os.fsync(fd)
assert [os.read(fd, 2) for _ in range(4)] == [b"12", b"00", b"\n", b""]
os.write(fd, b"two")
assert os.read(fd, 10) == b""		# still that of the last commit, which was read
os.fsync(fd)
assert os.pread(fd, 10, 0) == b"1201\n"
assert os.pread(fd, 10, 0) == b"1201\n"	# offset 0 is always the beginning
assert os.pread(fd, 10, 2) == b"01\n"
os.close(fd)
END
}

mount_at_start
check "a shell reads the id" shell_reads_the_id
check "each handle has its own" of_this_handle
check "many writers" many_writers_find_their_own
check "in pieces, and at offsets" in_pieces_and_at_offsets
unmount_at_end
