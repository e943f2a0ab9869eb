#!/usr/bin/env bash
# git clone over git://: the clone is whole, and has the same head.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need git git

readonly FILE_BYTES=10000000
choose_port server
git init -q "$scratch/served/repository"
head -c "$FILE_BYTES" /dev/urandom >"$scratch/served/repository/file"
git -C "$scratch/served/repository" add .
git -C "$scratch/served/repository" -c user.name=a -c user.email=a@example.org commit -q -m file
head="$(git -C "$scratch/served/repository" rev-parse HEAD)"
start server git daemon --reuseaddr --export-all --base-path="$scratch/served" --port="${ports[server]}" "$scratch/served"
wait_for_listener "${ports[server]}"
stand_in_front

clone() {
    rm -rf "$scratch/clone"
    timeout 60 git clone -q "git://127.0.0.1:$port/repository" "$scratch/clone" &&
        git -C "$scratch/clone" fsck --full >/dev/null 2>&1 &&
        [[ "$(git -C "$scratch/clone" rev-parse HEAD)" == "$head" ]]
}
each "git clone of 10 MB over git://, fsck" clone
