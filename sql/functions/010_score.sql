-- The score and its inverse. Both are total: they return a value (or null) for every input and never raise, which is
-- why they go through logarithms with clamped exponents: power() and exp() raise on overflow and on underflow.
-- No `set` clause and a single expression: the server inlines them.

create or replace function pgsim.score(distance float8, half float8, power float8) returns float8
language sql immutable parallel safe
return case
    when distance is null or power is null or half is null or half <= 0 or power <= 0 then null
    when distance <= 0 then 1
    when distance = 'infinity' then 0
    -- Where nothing can leave double precision, as written: exact at the fractions that people type as bounds.
    when abs(ln(distance) - ln(half)) < 600 and power between 1e-6 and 1e6
        and abs(least(greatest(power, 1e-6), 1e6) * (ln(distance) - ln(half))) < 600
        then 1 / (1 + power(distance / half, power))
    else 1 / (1 + exp(least(greatest(least(greatest(power, 1e-290), 1e300) * (ln(distance) - ln(half)), -700), 700)))
end;

comment on function pgsim.score(float8, float8, float8) is
    'Similarity in [0, 1] of a distance: 1 / (1 + (distance / half) ^ power); 1 at 0, 0.5 at half, 0 at infinity.';

create or replace function pgsim.distance(score float8, half float8, power float8) returns float8
language sql immutable parallel safe
return case
    when score is null or power is null or half is null or half <= 0 or power <= 0 then null
    when score >= 1 then 0
    when score <= 0 then 'infinity'
    else exp(least(greatest(ln(half) + (ln(1 - score) - ln(score)) / least(greatest(power, 1e-300), 1e290), -700), 709))
end;

comment on function pgsim.distance(float8, float8, float8) is
    'Distance of a score, the inverse of pgsim.score: half * (1 / score - 1) ^ (1 / power); infinity at 0.';

-- The score is compared in distance, so that every plan compares the same number. The edges are found by bisection down
-- to neighbouring doubles: the inverse formula is off by a rounding, and a score that was returned must be found again
-- when it is given as a bound.
create or replace function pgsim.distance_bounds(
    min_score float8, max_score float8, half float8, power float8, out closest float8, out farthest float8
)
language plpgsql immutable parallel safe
-- Who was granted a slice's view has no right to look into this schema; this calls pgsim.score by name.
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    edge int;
    low float8;
    high float8;
    middle float8;
begin
    closest := 0;
    farthest := 'infinity';
    for edge in 1..2 loop
        continue when case edge when 1 then max_score >= 1 else min_score <= 0 end;
        low := 0;
        high := half;
        while high < 'infinity' and case edge
            when 1 then pgsim.score(high, half, power) > max_score
            else pgsim.score(high, half, power) >= min_score
        end loop
            low := high;
            high := case when high > 8e307 then 'infinity' else high * 2 end;
        end loop;
        loop
            -- No two vectors are so close, and halving on would underflow.
            exit when high < 1e-300;
            middle := low + (least(high, 1.7e308) - low) / 2;
            exit when middle <= low or middle >= high;
            if (case edge
                when 1 then pgsim.score(middle, half, power) > max_score
                else pgsim.score(middle, half, power) >= min_score
            end) then
                low := middle;
            else
                high := middle;
            end if;
        end loop;
        if edge = 1 then
            closest := high;
        else
            farthest := low;
        end if;
    end loop;
end
$$;

comment on function pgsim.distance_bounds(float8, float8, float8, float8) is
    'The least and the greatest distance whose score lies in [min_score, max_score].';
