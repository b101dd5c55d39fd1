(def moons {"Mars" 2 "Jupiter" 97 "Venus" 0})

(doseq [[planet n] (sort-by val > moons)]
  (println (format "%-8s %2d" planet n)))

(->> "one fish, two fish, red fish"
     (re-seq #"(\w+) fish")
     (map second)
     frequencies
     println)
