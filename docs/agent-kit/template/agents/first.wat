;; An agent that is a module: ends well when the job has {"go": true}, badly when not.
(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "take" (func $take (param i32 i32) (result i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/input/go")
  (data (i32.const 16) "advance")
  (data (i32.const 64) "{\"events\":[\"start\",\"complete\"],\"note\":\"gone\"}")
  (data (i32.const 128) "{\"events\":[\"start\",\"fail\"],\"note\":\"stayed\"}")
  (func (export "decide") (result i32)
    ;; "true" has four letters: the length says enough.
    (if (i32.eq (call $get (i32.const 0) (i32.const 9)) (i32.const 4))
      (then (call $propose (i32.const 16) (i32.const 7) (i32.const 64) (i32.const 45)))
      (else (call $propose (i32.const 16) (i32.const 7) (i32.const 128) (i32.const 43))))
    (i32.const 0)))
