create table planets (name text, moons integer);

insert into planets values
    ('Mars', 2), ('Jupiter', 97), ('Venus', 0);

select name, moons, rank() over (order by moons desc) as place
from planets
order by place;
