git init --quiet
echo "one" > notes.txt
git add notes.txt
git commit --quiet --message "add notes"
echo "two" >> notes.txt
git diff --stat
git log --format=%s
