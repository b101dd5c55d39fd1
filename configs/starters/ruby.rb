Planet = Struct.new(:name, :moons)

planets = [
  Planet.new("Mars", 2),
  Planet.new("Jupiter", 97),
  Planet.new("Venus", 0)
]

planets.sort_by(&:moons).each do |planet|
  puts "#{planet.name}: #{planet.moons} #{planet.moons == 1 ? 'moon' : 'moons'}"
end
