#!/usr/bin/env bash
# scp both ways and rsync over Debian's sshd: what arrives is what was sent.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need sshd openssh-server
need ssh openssh-client
need rsync rsync

readonly FILE_BYTES=40000000
choose_port server
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$scratch/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$scratch/user_key"
cp "$scratch/user_key.pub" "$scratch/authorized_keys"
cat >"$scratch/sshd_config" <<CONFIG
Port ${ports[server]}
HostKey $scratch/host_key
PidFile none
AuthorizedKeysFile $scratch/authorized_keys
# The directory of this case is a temporary one.
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
CONFIG
start server /usr/sbin/sshd -D -e -f "$scratch/sshd_config"
wait_for_listener "${ports[server]}"
stand_in_front

head -c "$FILE_BYTES" /dev/urandom >"$scratch/file"
mkdir -p "$scratch/tree/deep"
for n in {1..200}; do
    printf 'file %s\n' "$n" >"$scratch/tree/deep/$n"
done
cp "$scratch/file" "$scratch/tree/large"
options=(-i "$scratch/user_key" -o StrictHostKeyChecking=no -o "UserKnownHostsFile=$scratch/known"
    -o LogLevel=ERROR -o IdentitiesOnly=yes)

copy_there() {
    # In kbit/s: 20 MB/s.
    scp -q -l 160000 -P "$port" "${options[@]}" "$scratch/file" "$USER_NAME@127.0.0.1:$scratch/there" &&
        cmp "$scratch/file" "$scratch/there"
}
copy_back() {
    scp -q -P "$port" "${options[@]}" "$USER_NAME@127.0.0.1:$scratch/file" "$scratch/back" &&
        cmp "$scratch/file" "$scratch/back"
}
synchronise() {
    rm -rf "$scratch/synchronised"
    rsync -a --bwlimit=20m -e "ssh -p $port ${options[*]}" "$scratch/tree/" "$USER_NAME@127.0.0.1:$scratch/synchronised/" &&
        diff -r "$scratch/tree" "$scratch/synchronised"
}
USER_NAME="$(id -un)"
each_long "scp of 40 MB to sshd at 20 MB/s" copy_there
each "scp of 40 MB from sshd" copy_back
each_long "rsync over ssh, 201 files, 40 MB at 20 MB/s" synchronise
