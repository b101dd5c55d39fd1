create table planets as
    from (values ('Earth', 1), ('Mars', 2), ('Jupiter', 95)) planets(name, moons);

from planets select name, moons, sum(moons) over () as total order by moons desc;
