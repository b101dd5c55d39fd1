"""Placeholder."""

TEXT = """
import os, sys
for m in sys.argv[1:]: __import__(m)
os.write(4,b'!'); os.close(4)
data=b''
while part := os.read(3,65536): data+=part
os.close(3)
argv=[os.fsdecode(p) for p in data[:-1].split(b'\\0')]
sys.argv=argv[1:]
exec(compile(open(argv[1]).read(),argv[1],'exec'))
"""
