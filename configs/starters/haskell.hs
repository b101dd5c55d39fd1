greet :: String -> String
greet name = "Hello, " ++ name ++ "!"

main :: IO ()
main = do
  putStrLn (greet "world")
  print [n * n | n <- [1 .. 5 :: Int]]
