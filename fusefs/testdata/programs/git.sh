# git clones, commits, branches, merges, repacks and checks itself; what it holds then is what the host's clone holds.
# needs git go
git clone -q --no-local "$REPOSITORY" clone
cd clone
git fsck --full --strict
for i in $(seq 15); do echo $i >>log; mkdir -p d/$i; echo $i >d/$i/f; git add .; git commit -qm "$i"; done
git checkout -qb side HEAD~5
for i in $(seq 5); do echo $i >>side; git add .; git commit -qm "side $i"; done
git checkout -q -
git merge -q --no-edit side
git worktree add -q ../tree side
git tag -a -m tag v1
git pack-refs --all
git gc -q --prune=now
git fsck --full --strict
git reset -q --hard HEAD~5
git clean -fdxq
test -z "$(git status --porcelain)"
git stash list
cd ..
git clone -q --mirror clone mirror.git
git -C mirror.git fsck --full --strict
git -C mirror.git repack -adfq --depth=10
git clone -q mirror.git "$HOST/back"
test "$(git -C "$HOST/back" rev-parse HEAD^{tree})" = "$(git -C clone rev-parse HEAD^{tree})"
git -C "$HOST/back" fsck --full
rm -rf clone mirror.git tree
