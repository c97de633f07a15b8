#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The mount exported by NFS and SMB, by servers and to clients in user space on this machine. To be run by hand, as root, since it needs much that is not
# installed everywhere:
#
#	apt-get install nfs-ganesha nfs-ganesha-vfs libnfs13 samba smbclient
#	WALFS=build/gcc/fs/walfs WALCTL=build/gcc/src/walctl/walctl tests/mount/servers.sh
#
# What it finds is said in walfs(1), RE-EXPORT, with these configurations.
. "$(dirname "$0")/common.sh"

PATH=$PATH:/sbin:/usr/sbin
nfs_port=20490
smb_port=44500

[ "$(id -u)" -eq 0 ] || skip_all "only root may export"

# ---- NFS: nfs-ganesha ----

ganesha_conf() {
	cat <<-END
	NFS_CORE_PARAM { Protocols = 4; NFS_Port = $nfs_port; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; }
	NFSv4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = "$work/recovery"; }
	NFS_KRB5 { Active_krb5 = false; }
	EXPORT {
	    Export_Id = 1;
	    Path = $mnt;
	    Pseudo = /log;
	    Access_Type = RW;
	    Squash = No_Root_Squash;
	    SecType = sys;
	    Filesystem_Id = 100.1;
	    Attr_Expiration_Time = 1;
	    FSAL { Name = VFS; }
	}
	END
}

listens() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1")
}

nfs() {
	mkdir "$work/recovery"
	ganesha_conf >"$work/ganesha.conf"
	ganesha.nfsd -F -f "$work/ganesha.conf" -L "$work/ganesha.log" -p "$work/ganesha.run" >"$work/err" 2>&1 &
	echo $! >"$work/ganesha.pid"
	within 20 listens "$nfs_port"
	within 20 grep -q 'SERVER INITIALIZED' "$work/ganesha.log"
	python3 -S "$here/nfs.py" "$nfs_port" /log "$mnt" || { tail "$work/ganesha.log"; false; }
	kill "$(cat "$work/ganesha.pid")"
	wait
	rm "$work/ganesha.pid"
}

# ---- SMB: Samba ----

smb_conf() {
	cat <<-END
	[global]
	server role = standalone server
	interfaces = 127.0.0.1/8
	bind interfaces only = yes
	smb ports = $smb_port
	disable netbios = yes
	map to guest = Bad User
	guest account = root
	load printers = no
	private dir = $work/smb
	lock directory = $work/smb
	state directory = $work/smb
	cache directory = $work/smb
	ncalrpc dir = $work/smb
	pid directory = $work/smb
	log file = $work/smb/log
	[log]
	path = $mnt
	read only = no
	guest ok = yes
	force user = root
	oplocks = no
	END
}

# smb COMMAND: of smbclient's
smb() {
	smbclient -N -s "$work/smb.conf" -p "$smb_port" //127.0.0.1/log -c "$1" >"$work/said" 2>&1
}

smb_refuses() {
	smb "$1" || true
	grep -q "$2" "$work/said"
}

samba() {
	mkdir "$work/smb"
	smb_conf >"$work/smb.conf"
	smbd -F -s "$work/smb.conf" >"$work/err" 2>&1 &
	echo $! >"$work/smbd.pid"
	within 20 listens "$smb_port"
	smb "mkdir t"
	for i in 0 1 2; do
		echo "entry $i" >"$work/file"
		smb "put $work/file t/new"
	done
	s=$mnt/t
	holds 'entry 0\n' 'entry 1\n' 'entry 2\n'
	smb "get t/$(entry 1) $work/got"
	[ "$(cat "$work/got")" = "entry 1" ]
	smb "get t/.log $work/got"
	cmp "$work/got" "$s/.log"
	smb "get t/.last $work/got"
	[ "$(cat "$work/got")" = "entry 2" ]
	smb "ls t/*"
	[ "$(grep -c '  0000' "$work/said")" -eq 3 ]
	# a checkpoint is made by the attempt to write it
	smb_refuses "put $work/file .checkpoints/by-smb" ACCESS_DENIED
	smb "ls .at/by-smb/t/*"
	[ "$(grep -c '  0000' "$work/said")" -eq 3 ]
	smb "tarmode full; tar c $work/smb.tar .at/by-smb"
	[ "$(tar -tf "$work/smb.tar" | grep -c '/0000')" -eq 3 ]
	smb "del .checkpoints/by-smb"
	[ ! -e "$mnt/.checkpoints/by-smb" ]
	smb_refuses "del t/$(entry 0)" ACCESS_DENIED
	smb_refuses "rename t/$(entry 0) x" ACCESS_DENIED
	smb_refuses "put $work/file t/other" ACCESS_DENIED
	smb_refuses "put $work/file t/.lines" ACCESS_DENIED
	smb "mkdir empty"
	# it looks for itself whether there is a file in it
	smb_refuses "rmdir empty" DIRECTORY_NOT_EMPTY
	rmdir "$mnt/empty"
	kill "$(cat "$work/smbd.pid")"
	wait
	rm "$work/smbd.pid"
}

mount_at_start
if command -v ganesha.nfsd >/dev/null; then
	check "NFS 4" nfs
else
	skip "NFS 4" "ganesha.nfsd is missing"
fi
if command -v smbd >/dev/null && command -v smbclient >/dev/null; then
	check "SMB" samba
else
	skip "SMB" "smbd or smbclient is missing"
fi
unmount_at_end
