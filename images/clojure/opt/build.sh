# Compiles the libraries and run.clj into libraries.jar, and makes the archive of the classes.
set -e
cd /opt/clojure
jars=
for name in clojure spec.alpha core.specs.alpha asm core.async core.cache core.match core.memoize data.csv data.json \
    data.priority-map math.combinatorics test.check tools.analyzer tools.analyzer.jvm tools.reader; do
    jars=$jars:/usr/share/java/$name.jar
done
jars=${jars#:}
mkdir /tmp/classes
java -cp "/tmp/classes:/opt/clojure:$jars" -Dclojure.compile.path=/tmp/classes clojure.lang.Compile \
    run clojure.core.async clojure.core.match clojure.data.csv clojure.data.json clojure.math.combinatorics \
    clojure.test.check.clojure-test
(cd /tmp/classes && zip -qr /opt/clojure/libraries.jar .)
echo "-cp /opt/clojure/libraries.jar:$jars:/sandbox clojure.main -m run" >class-path
cat >/tmp/main_test.clj <<'CODE'
(ns main-test (:require [clojure.test :refer [deftest is]] [clojure.core.async :as async] [clojure.data.json :as json]
                        [clojure.set] [clojure.edn] [clojure.pprint :refer [pprint]] [clojure.java.shell :refer [sh]]))
(defrecord Point [x y])
(defmulti area :shape)
(deftest everything
  (is (= 5 (async/<!! (async/go 5))))
  (is (= "[1]" (json/write-str [1])))
  (is (thrown? ArithmeticException (/ 1 0)))
  (pprint (->> (range 9) (map inc) (group-by odd?)))
  (println (format "%.2f" 1.5) (re-seq #"\d" "a1") (->Point 1 2) @(future 1) (:out (sh "echo" "1"))))
CODE
cd /tmp
# without /sandbox: an archive knows jars, and folders only after them
sed -e 's/SharedArchiveFile/ArchiveClassesAtExit/' /opt/clojure/options >options
sed -e 's/:.sandbox / /' /opt/clojure/class-path >class-path
java @options @class-path --test
rm -r /tmp/*
