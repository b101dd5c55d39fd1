create table planets (name text, moons int);
insert into planets values ('Earth', 1), ('Mars', 2), ('Saturn', 146);

select name, moons, rank() over (order by moons desc)
from planets
order by name;
