;; "run main.clj ARG..." runs a program, "run --test" the tests of the files *_test.clj, and "run --wait" waits in a box
;; for a run, by the protocol of docs/sandboxes.md.
(ns run
  (:require [clojure.java.io :as io]
            [clojure.main :as main]
            [clojure.string :as string]
            [clojure.test :as test])
  (:import (java.io FileDescriptor FileInputStream FileOutputStream)))

(def options ["java" "@/opt/clojure/options" "@/opt/clojure/class-path"])

(defn- descriptor [number]
  (let [constructor (.getDeclaredConstructor FileDescriptor (into-array Class [Integer/TYPE]))]
    (.setAccessible constructor true)
    (.newInstance constructor (object-array [(int number)]))))

(defn- become
  "Starts a program of its own for what is no run of this one."
  [argv]
  (System/exit (.. (ProcessBuilder. ^java.util.List argv) inheritIO start waitFor)))

(defn- wait-for-arguments []
  ;; the compiler is warm for the program
  (load-string "(defn f [n & more] (let [{:keys [a]} {:a n}] (if (= a 1) (map inc more) (for [x [a]] (str x))))) (f 1 2)")
  (with-open [ready (FileOutputStream. ^FileDescriptor (descriptor 4))]
    (.write ready (int \!)))
  (let [text (with-open [go (FileInputStream. ^FileDescriptor (descriptor 3))] (slurp go))
        argv (string/split text #"\x00")]
    (cond
      (= text "") nil
      (= options (take 3 argv)) (drop 3 argv)
      :else (become argv))))

(defn- has-tests? [namespace]
  (some (comp :test meta) (vals (ns-interns namespace))))

(defn- run-tests []
  (doseq [file (sort (.list (io/file ".")))
          :when (string/ends-with? file "_test.clj")]
    (load-file file))
  (System/exit (if (test/successful? (apply test/run-tests (filter has-tests? (all-ns)))) 0 1)))

(defn- run-program [[script & args]]
  (main/with-bindings
    (binding [*command-line-args* args]
      (main/load-script script)))
  (flush)
  ;; threads of futures would keep the program for a minute
  (shutdown-agents))

(defn- explain
  "Prints what clojure.main would, but for the report, which is more than an answer holds."
  [error]
  (flush)
  (binding [*out* *err*]
    (print (main/ex-str (main/ex-triage (Throwable->map error))))
    (flush)))

(defn -main [& words]
  (try
    (let [args (if (= words ["--wait"]) (wait-for-arguments) words)]
      (case (first args)
        nil nil
        "--test" (run-tests)
        (run-program args)))
    (catch Throwable error
      (explain error)
      (System/exit 1))))
