<?php

$heights = ["Everest" => 8849, "Kilimanjaro" => 5895, "Mont Blanc" => 4806];

foreach ($heights as $name => $meters) {
    printf("%-12s %s m\n", $name, number_format($meters));
}

echo "Hello, ", implode(" and ", array_keys($heights)), "!\n";
