create table planets (name text, moons integer);
insert into planets values ('Earth', 1), ('Mars', 2), ('Jupiter', 95);

select name, moons, rank() over (order by moons desc) as place
from planets
order by name;
